//! Turns: what all connections are sent leaves at one rate, by deficit round robin over the connections for which something waits (as RFC 8290
//! section 4.1 has it for flows). Who has less to send than a turn, while all others have theirs, leaves before those that always wait.

use std::collections::VecDeque;
use std::time::Duration;

use mpt_proto::{Handle, Instant, Limit};

use super::shared;
use crate::table::Table;

/// A turn takes this part of a second of the uplink, within these bounds in bytes: a full packet at least, and so much at most that a run of
/// datagrams leaves in one call.
const TURNS: u64 = 4_000;
/// See [`TURNS`].
const LEAST_TURN: u64 = 1_514;
/// See [`TURNS`].
const MOST_TURN: u64 = 32 << 10;
/// Most that a connection may owe: what leaves without a turn, as repairs and reports, is paid for by its next turns, but not for ever.
const MOST_OWED: i64 = 4 * MOST_TURN.cast_signed();
/// What turns come to is looked at over this time at least.
const MEASURED: Duration = Duration::from_millis(20);
/// Who waited within this time is limited by its turns.
const RECENT: Duration = Duration::from_secs(1);

/// Which list a connection is in that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum List {
    Fresh,
    Old,
}

/// A connection.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    list: Option<List>,
    /// Bytes that it may send in this turn, and the last round for which it was given a turn.
    credit: i64,
    given: u64,
    /// What it has sent since then.
    sent: u64,
    since: Instant,
    /// Bytes a second that its turns came to.
    rate: u64,
    waited: Option<Instant>,
}

/// See the module.
#[derive(Debug)]
pub struct Uplink {
    limit: Limit,
    rate: u64,
    /// Bytes of a turn.
    turn: u64,
    /// Counts how often all that always wait had a turn, and who of them ends the round.
    round: u64,
    last: Option<Handle>,
    /// Those that wait: who did not wait before, and the others. Some may have gone, which is found out when it would be their turn.
    fresh: VecDeque<Handle>,
    old: VecDeque<Handle>,
    /// How many wait.
    waiting: usize,
    /// Whose turn it is.
    current: Option<Handle>,
    places: Table<Place>,
}

impl Uplink {
    /// Of so many bits a second.
    pub fn new(bits: u64) -> Self {
        let rate = shared(bits);
        Self {
            limit: Limit::new(rate),
            rate,
            turn: (rate / TURNS).clamp(LEAST_TURN, MOST_TURN),
            // Places begin in round 0, and have none yet.
            round: 1,
            last: None,
            fresh: VecDeque::new(),
            old: VecDeque::new(),
            waiting: 0,
            current: None,
            places: Table::default(),
        }
    }

    /// Whether a connection may send a packet: it is its turn, or nobody waits.
    pub fn may_send(&self, connection: Handle, now: Instant) -> bool {
        let is_its = match self.current {
            Some(current) => current == connection && self.place(connection).credit > 0,
            None => self.waiting == 0,
        };
        is_its && self.limit.is_open(now)
    }

    /// A datagram of so many bytes, with its headers, leaves, whether or not it might have waited.
    pub fn charge(&mut self, connection: Handle, len: usize, now: Instant) {
        self.limit.charge(len, now);
        // While nobody waits, nobody owes the others anything.
        let is_shared = self.current.is_some() || self.waiting > 0;
        let place = self.places.entry(connection);
        if is_shared {
            place.credit = place.credit.saturating_sub_unsigned(len as u64).max(-MOST_OWED);
        }
        place.sent += len as u64;
    }

    /// A connection has something to send, and may not.
    pub fn wait(&mut self, connection: Handle, now: Instant) {
        let Self { turn, round, rate, .. } = *self;
        let others = self.waiting as u64;
        let place = self.places.entry(connection);
        if place.list.is_some() {
            return;
        }
        if place.waited.is_none_or(|waited| now >= waited + RECENT) {
            place.rate = rate / (others + 1);
        }
        (place.sent, place.since, place.waited) = (0, now, Some(now));
        if others == 0 {
            place.credit = turn.cast_signed();
        } else if round > place.given {
            let missed = turn.saturating_mul(round - place.given);
            place.credit = place.credit.saturating_add_unsigned(missed).min(turn.cast_signed());
        }
        place.given = place.given.max(round);
        self.waiting += 1;
        if place.credit > 0 {
            place.list = Some(List::Fresh);
            self.fresh.push_back(connection);
        } else {
            (place.credit, place.given) = (place.credit.saturating_add_unsigned(turn), round + 1);
            self.push_old(connection);
        }
    }

    /// Begins the turn of the connection whose turn it is, if something may leave now. [`end_turn`](Self::end_turn) must follow.
    pub fn begin_turn(&mut self, now: Instant) -> Option<Handle> {
        while self.limit.is_open(now) {
            let first = *self.fresh.front().or(self.old.front())?;
            let turn = self.turn;
            let Some(place) = self.places.get_mut(first) else {
                self.leave(first);
                continue;
            };
            if place.credit > 0 {
                self.current = Some(first);
                return Some(first);
            }
            place.credit = place.credit.saturating_add_unsigned(turn);
            place.measure(now);
            self.drop_first();
            self.push_old(first);
            if self.last == Some(first) {
                self.round += 1;
            }
            self.places.entry(first).given = self.round;
        }
        None
    }

    /// Ends it. `waits`: the connection would have sent more.
    pub fn end_turn(&mut self, waits: bool, now: Instant) {
        let Some(current) = self.current.take() else { return };
        if waits {
            return;
        }
        let place = self.places.entry(current);
        place.waited = Some(now);
        place.list = None;
        self.waiting -= 1;
        self.leave(current);
    }

    /// The connection goes.
    pub fn remove(&mut self, connection: Handle) {
        let place = self.places.remove(connection);
        self.waiting -= usize::from(place.is_some_and(|place| place.list.is_some()));
    }

    /// Bytes a second that the connection's turns come to, if it waits for them.
    pub fn share(&self, connection: Handle, now: Instant) -> Option<u64> {
        let place = self.place(connection);
        place.waited.filter(|waited| place.list.is_some() || now < *waited + RECENT).map(|_| place.rate)
    }

    /// When [`begin_turn`](Self::begin_turn) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        (self.waiting > 0).then(|| self.limit.opens_at(Instant::ZERO))
    }

    /// Takes the one out that is first.
    fn drop_first(&mut self) {
        if self.fresh.pop_front().is_none() {
            self.old.pop_front();
        }
    }

    /// The one that is first waits no more.
    fn leave(&mut self, first: Handle) {
        self.drop_first();
        if self.last == Some(first) {
            self.round += 1;
            self.last = self.old.back().copied();
        }
    }

    fn push_old(&mut self, connection: Handle) {
        self.places.entry(connection).list = Some(List::Old);
        self.old.push_back(connection);
        self.last = self.last.or(Some(connection));
    }

    fn place(&self, connection: Handle) -> Place {
        self.places.get(connection).copied().unwrap_or_default()
    }
}

impl Place {
    /// A turn has ended that was used up.
    fn measure(&mut self, now: Instant) {
        let time = now.since(self.since);
        if time >= MEASURED {
            let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
            let rate = self.sent.saturating_mul(1_000_000) / micros;
            self.rate = (self.rate * 3 + rate) / 4;
            (self.sent, self.since, self.waited) = (0, now, Some(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::level;
    use super::*;
    use crate::table::testing::handles;

    /// 80 Mbit/s: 9.5 MB/s are shared.
    const BITS: u64 = 80_000_000;

    fn at(micros: u64) -> Instant {
        Instant::from_micros(1_000_000 + micros)
    }

    /// A connection that gets so many bytes a millisecond for it, in packets of a size.
    #[derive(Debug, Clone, Copy)]
    struct Flow {
        comes: usize,
        packet: usize,
        owed: usize,
        waits: usize,
        sent: usize,
        longest: usize,
    }

    impl Flow {
        fn new(comes: usize, packet: usize) -> Self {
            Self { comes, packet, owed: 0, waits: 0, sent: 0, longest: 0 }
        }

        /// Sends what it may. Returns whether it would send more.
        fn pull(&mut self, handle: Handle, uplink: &mut Uplink, now: Instant) -> bool {
            while self.waits > 0 {
                if !uplink.may_send(handle, now) {
                    uplink.wait(handle, now);
                    return true;
                }
                uplink.charge(handle, self.packet, now);
                self.waits -= 1;
                self.sent += self.packet;
            }
            false
        }
    }

    /// Lets packets come and leave for a time, as the loop does: each connection for which one comes is pulled, and then turns are taken.
    fn run(flows: &mut [Flow], uplink: &mut Uplink, millis: u64) {
        run_during(flows, uplink, 0..millis);
    }

    /// As [`run`], from one millisecond to another.
    fn run_during(flows: &mut [Flow], uplink: &mut Uplink, millis: std::ops::Range<u64>) {
        let handles = handles(flows.len());
        for milli in millis {
            let now = at(milli * 1000);
            for (handle, flow) in handles.iter().zip(flows.iter_mut()) {
                flow.owed += flow.comes;
                flow.waits = (flow.waits + flow.owed / flow.packet).min(200);
                flow.owed %= flow.packet;
                flow.pull(*handle, uplink, now);
            }
            while let Some(handle) = uplink.begin_turn(now) {
                let waits = flows[handle.index()].pull(handle, uplink, now);
                uplink.end_turn(waits, now);
            }
            for flow in flows.iter_mut() {
                flow.longest = flow.longest.max(flow.waits);
            }
            assert!(uplink.poll_timeout().is_none_or(|due| due > now), "nobody looks in vain");
        }
    }

    #[test]
    fn each_gets_what_water_filling_gives_it_whatever_it_wants_and_however_long_its_packets_are() {
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..10 {
            let packets = [100, 500, 1_400];
            let mut flows: Vec<Flow> =
                (0..30).map(|_| Flow::new(random.usize(10..1_500), packets[random.usize(..3)])).collect();
            let mut uplink = Uplink::new(BITS);
            run(&mut flows, &mut uplink, 2_000);
            let mut wants: Vec<f64> = flows.iter().map(|flow| flow.comes as f64 * 1_000.0).collect();
            let level = level(9_500_000.0, &mut wants);
            let all: usize = flows.iter().map(|flow| flow.sent).sum();
            assert!((18_900_000..19_200_000).contains(&all) || level > 1e6, "{all}");
            for flow in &flows {
                let (share, got) = ((flow.comes as f64 * 1_000.0).min(level), flow.sent as f64 / 2.0);
                assert!((got / share - 1.0).abs() < 0.06, "{flow:?}: {got} of {share}");
            }
        }
    }

    #[test]
    fn who_sends_little_does_not_wait_beside_a_flood_and_nobody_does_alone() {
        let mut flows = vec![Flow::new(12_000, 1_400); 20];
        flows.push(Flow::new(50, 200));
        let mut uplink = Uplink::new(BITS);
        run(&mut flows, &mut uplink, 1_000);
        let quiet = flows.last().unwrap();
        assert!(quiet.longest <= 1 && quiet.sent >= 49_000, "{quiet:?}");
        let share = uplink.share(handles(4)[3], at(1_000_000)).unwrap();
        assert!((400_000..550_000).contains(&share), "{share}");

        let mut alone = [Flow::new(9_000, 1_400)];
        let mut uplink = Uplink::new(BITS);
        run(&mut alone, &mut uplink, 1_000);
        assert!(alone[0].longest == 0 && uplink.share(handles(1)[0], at(1_000_000)).is_none(), "{alone:?}");
    }

    #[test]
    fn who_sent_much_while_nobody_waited_has_its_share_when_others_come() {
        let mut flows = [Flow::new(4_000, 1_400), Flow::new(0, 1_400)];
        let mut uplink = Uplink::new(BITS);
        run(&mut flows, &mut uplink, 60_000);
        flows[1].comes = 20_000;
        flows[0].sent = 0;
        run_during(&mut flows, &mut uplink, 60_000..60_100);
        assert!(flows[0].sent > 350_000, "{flows:?}");
    }

    #[test]
    fn who_goes_is_not_waited_for() {
        let mut flows = [Flow::new(12_000, 1_400); 3];
        let mut uplink = Uplink::new(BITS);
        run(&mut flows, &mut uplink, 100);
        uplink.remove(handles(3)[1]);
        flows[1].comes = 0;
        flows[1].waits = 0;
        let before = flows.map(|flow| flow.sent);
        run_during(&mut flows, &mut uplink, 100..200);
        assert_eq!(flows[1].sent, before[1]);
        assert!(flows[0].sent > before[0], "the others go on");
    }
}
