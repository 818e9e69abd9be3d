//! The socket below a runner for embassy-net, which the test drives by hand.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll};

use mpt_proto::adapt::embassy::DatagramSocket;

/// What is on its way to and from the runner on one path, and how many datagrams fit towards the peer.
#[derive(Default)]
pub(crate) struct Wire {
    pub(crate) out: RefCell<VecDeque<Vec<u8>>>,
    pub(crate) room: Cell<usize>,
    pub(crate) arriving: RefCell<VecDeque<Vec<u8>>>,
}

/// The socket of one path.
pub(crate) struct Socket(pub(crate) Rc<Wire>);

impl DatagramSocket for Socket {
    fn poll_ready(&self, _: &mut Context<'_>) -> Poll<()> {
        if self.0.out.borrow().len() < self.0.room.get() { Poll::Ready(()) } else { Poll::Pending }
    }

    fn send(&self, datagram: &[u8], cx: &mut Context<'_>) {
        if self.poll_ready(cx).is_ready() {
            self.0.out.borrow_mut().push_back(datagram.to_vec());
        }
    }

    fn poll_receive(&self, buffer: &mut [u8], _: &mut Context<'_>) -> Poll<Option<usize>> {
        let Some(datagram) = self.0.arriving.borrow_mut().pop_front() else { return Poll::Pending };
        let Some(place) = buffer.get_mut(..datagram.len()) else { return Poll::Ready(None) };
        place.copy_from_slice(&datagram);
        Poll::Ready(Some(datagram.len()))
    }
}
