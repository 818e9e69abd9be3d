//! Handshakes: what arrives of them, and what begins them.

use mpt_proto::Instant;

use super::{Entropy, Opened, PeerId, RecentSlot, Sealer, at};
use crate::budget::Verdict;
use crate::cipher::Ciphers;
use crate::epoch::{Epoch, Terms};
use crate::index::{INDEX_BITS, Role};
use crate::limits::{
    COPIES_WITHIN, INITIATIONS_APART, REKEY_AFTER, REKEY_AFTER_ANSWERING, REKEY_SPREAD, STALE_REPLIES_APART,
};
use crate::mac::Source;
use crate::message::{
    Choice, CookieReply, Initiation, Kind, Proposal, Response, StaleReply, read_proposal, write_cookie_reply,
    write_initiation, write_response, write_stale_reply,
};
use crate::noise::Responder;
use crate::peer::{Answered, Cookie, Handshake};
use crate::reason::Reason;

/// The form of data datagrams that this version speaks.
const FORM: u8 = 1;

impl<C: Ciphers, E: Entropy> Sealer<'_, C, E> {
    pub(super) fn handle_handshake<'d>(
        &mut self,
        kind: Kind,
        source: &Source,
        path: Option<(PeerId, u8)>,
        datagram: &'d mut [u8],
        now: Instant,
    ) -> Opened<'d> {
        let mut reply = Reply::default();
        let outcome = match kind {
            Kind::Initiation => self.handle_initiation(source, path.is_some(), datagram, &mut reply, now),
            Kind::Response => self.handle_response(datagram, now),
            Kind::CookieReply => self.handle_cookie(path, datagram, now),
            Kind::StaleReply => self.handle_stale(datagram, now),
        };
        match (outcome, datagram.get_mut(..reply.len)) {
            (Err(reason), _) => Opened::Refused(reason),
            (Ok(()), Some(place)) if reply.len > 0 => {
                for (to, from) in place.iter_mut().zip(reply.bytes) {
                    *to = from;
                }
                Opened::Reply(place)
            }
            (Ok(()), _) => Opened::Consumed,
        }
    }

    /// Somebody begins a handshake. What costs least is looked at first. `is_known`: it came from where a path of a peer is.
    fn handle_initiation(
        &mut self,
        source: &Source,
        is_known: bool,
        datagram: &[u8],
        reply: &mut Reply,
        now: Instant,
    ) -> Result<(), Reason> {
        let initiation = Initiation::parse(datagram).ok_or(Reason::Form)?;
        if !self.budget.check(is_known, now) {
            return Err(Reason::Busy);
        }
        if !initiation.has_mac1(&self.identity) {
            return Err(Reason::BadMac);
        }
        if let Some(response) = self.copy_of(initiation.mac1(), now) {
            reply.put(&response);
            return Ok(());
        }
        let has_cookie = initiation.has_mac2(&self.cookies, source, now);
        match self.budget.initiation(source, has_cookie, is_known, now) {
            Verdict::Take => {}
            Verdict::Drop => return Err(Reason::Busy),
            Verdict::AskForCookie => {
                let Self { cookies, entropy, .. } = self;
                let cookie = cookies.make(source, now, || random(entropy));
                let nonce = random(entropy);
                let bytes = write_cookie_reply(
                    &self.identity,
                    initiation.sender(),
                    initiation.mac1(),
                    &cookie,
                    &nonce,
                );
                reply.put(&bytes);
                return Ok(());
            }
        }
        let claim = initiation.read_static(&self.identity).map_err(|_| Reason::BadTag)?;
        let rank = self.rank(claim.public()).map_err(|_| Reason::UnknownPeer)?;
        let id = PeerId(self.order.get(rank).copied().ok_or(Reason::UnknownPeer)?);
        let peer = self.peer(id).ok_or(Reason::UnknownPeer)?;
        if peer.initiation_at.is_some_and(|at| now.since(at) < INITIATIONS_APART) {
            return Err(Reason::Busy);
        }
        let (responder, proposal) = read_proposal(claim, &self.identity).map_err(|_| Reason::BadTag)?;
        let peer = self.peer(id).ok_or(Reason::UnknownPeer)?;
        if let Some(newest) = peer.newest_time.filter(|newest| proposal.time <= *newest) {
            // However often: a limit of these would be spent by whoever repeats what it recorded, and a peer without a clock would wait
            // in vain. The budget above is the limit.
            let nonce = random(&mut self.entropy);
            reply.put(&write_stale_reply(&responder, initiation.sender(), newest, &nonce));
            return Ok(());
        }
        if !(proposal.lowest_form..=proposal.highest_form).contains(&FORM) {
            return Err(Reason::Form);
        }
        self.answer(id, responder, (&initiation, proposal), reply, now)
    }

    /// A sound initiation of a peer: an epoch that waits for its first datagram, and the response.
    fn answer(
        &mut self,
        id: PeerId,
        responder: Responder,
        (initiation, proposal): (&Initiation<'_>, Proposal),
        reply: &mut Reply,
        now: Instant,
    ) -> Result<(), Reason> {
        let index = self.fresh_index().ok_or(Reason::Busy)?;
        let suite = self.ciphers.offered().best(proposal.ciphers);
        let choice = Choice { index, form: FORM, cipher: suite, instance: self.instance };
        let entropy: [u8; 32] = random(&mut self.entropy);
        let peer = at(self.peers, id.index()).ok_or(Reason::UnknownPeer)?;
        let (preshared, receiver) = (&peer.keys.preshared, initiation.sender());
        let (secrets, response) =
            write_response(responder, &mut self.identity, preshared, receiver, &choice, &entropy)
                .map_err(|_| Reason::BadTag)?;
        let terms = Terms {
            local: index,
            remote: receiver,
            suite,
            we_began: false,
            instance: proposal.instance,
            born: now,
        };
        let epoch = Epoch::new(&self.ciphers, &secrets, terms, REKEY_AFTER_ANSWERING);
        self.put(id, epoch).ok_or(Reason::Busy)?;
        let mac1 = *initiation.mac1();
        let peer = self.peer_mut(id).ok_or(Reason::UnknownPeer)?;
        peer.newest_time = Some(proposal.time);
        peer.initiation_at = Some(now);
        peer.answered = Some(Answered { mac1, response, at: now });
        if let Some(slot) = self.recent.get_mut(self.next_recent) {
            *slot = RecentSlot { mac1, peer: id.0, at: now };
            self.next_recent = (self.next_recent + 1).checked_rem(self.recent.len()).unwrap_or(0);
        }
        self.look_at(id);
        reply.put(&response);
        Ok(())
    }

    /// The response to an initiation that was answered already: each path brings a copy.
    fn copy_of(&self, mac1: &[u8; 16], now: Instant) -> Option<[u8; 92]> {
        let is_it = |slot: &&RecentSlot| slot.mac1 == *mac1 && now.since(slot.at) < COPIES_WITHIN;
        let id = PeerId(self.recent.iter().find(is_it)?.peer);
        let answered = self.peer(id)?.answered.as_ref().filter(|answered| answered.mac1 == *mac1)?;
        Some(answered.response)
    }

    /// The peer of a handshake of ours that has this index.
    fn handshake_of(&self, index: u32) -> Result<PeerId, Reason> {
        match self.index.get(index) {
            Some((peer, Role::Handshake)) => Ok(PeerId(peer)),
            Some((_, Role::Epoch(_))) => Err(Reason::Stale),
            None => Err(Reason::UnknownIndex),
        }
    }

    fn handle_response(&mut self, datagram: &[u8], now: Instant) -> Result<(), Reason> {
        let response = Response::parse(datagram).ok_or(Reason::Form)?;
        let id = self.handshake_of(response.receiver())?;
        let peer = at(self.peers, id.index()).ok_or(Reason::UnknownPeer)?;
        let handshake = peer.handshake.as_ref().ok_or(Reason::Stale)?;
        if !response.has_mac1(&handshake.initiator) {
            return Err(Reason::BadTag);
        }
        let Handshake { initiator, proposal, index, sent, .. } = handshake;
        let finished = response.finish(initiator, &self.identity, &peer.keys.preshared, proposal);
        let Ok((secrets, choice)) = finished else {
            // The responder's own, so that no other will fit: the next try is with another ephemeral key.
            self.give_up(id);
            return Err(Reason::BadResponse);
        };
        let terms = Terms {
            local: *index,
            remote: choice.index,
            suite: choice.cipher,
            we_began: true,
            instance: choice.instance,
            born: now,
        };
        let rtt = now.since(*sent);
        let [chance] = random(&mut self.entropy);
        let rekey_after = REKEY_AFTER + REKEY_SPREAD.saturating_mul(chance.into()) / 256;
        let epoch = Epoch::new(&self.ciphers, &secrets, terms, rekey_after);
        // The index of the handshake becomes that of the epoch.
        let place = self.put(id, epoch).ok_or(Reason::Busy)?;
        let peer = self.peer_mut(id).ok_or(Reason::UnknownPeer)?;
        peer.note_rtt(rtt);
        peer.handshake = None;
        self.take_into_use(id, place, now);
        Ok(())
    }

    fn handle_cookie(
        &mut self,
        path: Option<(PeerId, u8)>,
        datagram: &[u8],
        now: Instant,
    ) -> Result<(), Reason> {
        let answer = CookieReply::parse(datagram).ok_or(Reason::Form)?;
        let id = self.handshake_of(answer.receiver())?;
        let peer = self.peer_mut(id).ok_or(Reason::UnknownPeer)?;
        let handshake = peer.handshake.as_ref().ok_or(Reason::Stale)?;
        let bytes = answer.open(&peer.keys.public, &handshake.datagram).ok_or(Reason::BadTag)?;
        let (_, path) = path.filter(|(peer, _)| *peer == id).ok_or(Reason::Stale)?;
        *peer.cookies.get_mut(usize::from(path)).ok_or(Reason::Stale)? = Cookie::new(bytes, now);
        Ok(())
    }

    fn handle_stale(&mut self, datagram: &[u8], now: Instant) -> Result<(), Reason> {
        let answer = StaleReply::parse(datagram).ok_or(Reason::Form)?;
        let id = self.handshake_of(answer.receiver())?;
        let peer = self.peer_mut(id).ok_or(Reason::UnknownPeer)?;
        let handshake = peer.handshake.as_ref().ok_or(Reason::Stale)?;
        let newest = answer.open(&handshake.initiator).ok_or(Reason::BadTag)?;
        // It is the time from which on we are believed; the handshake begins again with a later one.
        peer.our_time = peer.our_time.max(newest);
        if peer.stale_reply_at.is_none_or(|at| now.since(at) >= STALE_REPLIES_APART) {
            peer.stale_reply_at = Some(now);
            peer.retry.at = now;
        }
        self.give_up(id);
        self.look_at(id);
        Ok(())
    }

    /// Begins a handshake, or lets the initiation of the one under way leave again, on all paths.
    pub(super) fn try_handshake(&mut self, id: PeerId, time: u64, now: Instant) {
        let [chance] = random(&mut self.entropy);
        let Some(peer) = self.peer_mut(id) else { return };
        peer.retry.note(chance, now);
        let paths = peer.paths;
        if peer.handshake.is_none() && self.begin(id, time, now).is_none() {
            return;
        }
        let Some(handshake) = self.peer_mut(id).and_then(|peer| peer.handshake.as_mut()) else { return };
        handshake.unsent = paths;
        handshake.sent = now;
        self.transmit_from = Some(0);
    }

    fn begin(&mut self, id: PeerId, time: u64, now: Instant) -> Option<()> {
        let index = self.fresh_index()?;
        let entropy: [u8; 32] = random(&mut self.entropy);
        let (instance, ciphers) = (self.instance, self.ciphers.offered());
        let peer = at(self.peers, id.index())?;
        peer.our_time = time.max(peer.our_time.saturating_add(1));
        let proposal =
            Proposal { time: peer.our_time, lowest_form: FORM, highest_form: FORM, ciphers, instance };
        let (initiator, datagram) =
            write_initiation(&mut self.identity, &peer.keys.public, index, &proposal, &entropy).ok()?;
        let unsent = peer.paths;
        peer.handshake =
            Some(Handshake { initiator, proposal, datagram, index, began: now, sent: now, unsent });
        if !self.index.insert(index, id.0, Role::Handshake) {
            self.peer_mut(id)?.handshake = None;
            return None;
        }
        Some(())
    }

    /// An index that stands for nobody. Where the entropy gives none, one of those behind what it gave.
    fn fresh_index(&mut self) -> Option<u32> {
        const TRIES: u32 = 8;
        let mut index = 0;
        for step in 0..TRIES + self.index.len() {
            index = if step < TRIES {
                u32::from_be_bytes(random(&mut self.entropy)) >> (32 - INDEX_BITS)
            } else {
                (index + 1) & ((1 << INDEX_BITS) - 1)
            };
            if index != 0 && self.index.get(index).is_none() {
                return Some(index);
            }
        }
        None
    }
}

/// What is to be sent back.
struct Reply {
    bytes: [u8; 92],
    len: usize,
}

impl Default for Reply {
    fn default() -> Self {
        Self { bytes: [0; 92], len: 0 }
    }
}

impl Reply {
    fn put(&mut self, reply: &[u8]) {
        for (to, from) in self.bytes.iter_mut().zip(reply) {
            *to = *from;
        }
        self.len = reply.len();
    }
}

pub(super) fn random<const N: usize>(entropy: &mut impl Entropy) -> [u8; N] {
    let mut bytes = [0; N];
    entropy.fill(&mut bytes);
    bytes
}
