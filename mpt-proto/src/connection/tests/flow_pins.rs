//! Flows that are pinned to a path for a while, between two connections.

use super::adaptive::{TCP, kinds, number, numbered, traffic, up};
use super::*;
use crate::wire::extension::Kind as Extended;

#[test]
fn a_flow_that_is_pinned_for_a_while_takes_its_path_alone_and_others_go_on_as_before() {
    let mut pair = up(&Config::default(), &[lab(); 2]);
    let (until, now) = (pair.now + Duration::from_secs(60), pair.now);
    let path = pair.paths[1][0];
    // The ports of `numbered`.
    pair.ends[0].pin_flow((200 << 8, 80), path, until, now).unwrap();
    pair.sent.clear();
    assert_eq!(traffic(&mut pair, 0, 50, 2), (0..100).collect::<Vec<_>>());
    let plain = |sent: &[(usize, usize, Vec<u8>)]| -> Vec<usize> {
        let packets = sent.iter().filter(|(from, _, bytes)| {
            *from == 0 && gre::parse(bytes).is_ok_and(|header| header.protocol == Protocol::Ipv4)
        });
        packets.map(|(_, path, _)| *path).collect()
    };
    assert_eq!(plain(&pair.sent), [1; 100]);
    pair.sent.clear();
    pair.send(0, &numbered(TCP, 1, 0, 1000));
    pair.run(20);
    let (extended, plain) = kinds(&mut pair, 0);
    assert!(
        plain == 0
            && extended.iter().any(|(_, kind)| matches!(kind, Extended::Ordered | Extended::Unordered))
    );
    pair.run(60_000);
    pair.send(0, &numbered(TCP, 0, 0, 1000));
    pair.run(20);
    assert_eq!(kinds(&mut pair, 0).1, 0, "the time is over");
}

#[test]
fn what_comes_of_a_flow_that_is_pinned_for_a_while_is_delivered_as_it_arrives_whatever_was_lost() {
    for policy in [Policy::Adaptive, Policy::Weighted] {
        let mut pair = up(&Config { policy, ..Config::default() }, &[lab(); 2]);
        let (until, now) = (pair.now + Duration::from_secs(60), pair.now);
        let [here, there] = pair.paths[1];
        pair.ends[0].pin_flow((200 << 8, 80), here, until, now).unwrap();
        pair.ends[1].pin_flow((80, 200 << 8), there, until, now).unwrap();
        pair.cut = PathSet::of(1);
        pair.send(0, &numbered(TCP, 0, 0, 1000));
        pair.cut = PathSet::default();
        for number in 1..4 {
            pair.send(0, &numbered(TCP, 0, number, 1000));
        }
        let got: Vec<u32> = pair.delivered[1].iter().map(|packet| number(packet)).collect();
        assert_eq!(got, [1, 2, 3], "{policy:?}");
        // Nobody waits for their numbers.
        pair.send(0, &numbered(TCP, 1, 4, 1000));
        pair.run(1000);
        assert_eq!(pair.delivered[1].len(), 4, "{policy:?}");
        assert_eq!(DropReason::ALL.map(|reason| pair.ends[1].stats().dropped(reason)).iter().sum::<u64>(), 0);
    }
}

#[test]
fn a_flow_that_is_pinned_for_a_while_takes_its_path_or_none_whatever_the_policy() {
    for policy in Policy::ALL.iter().copied() {
        let mut pair = up(&Config { policy, ..Config::default() }, &[lab(); 3]);
        let (until, now) = (pair.now + Duration::from_secs(60), pair.now);
        let path = pair.paths[2][0];
        pair.ends[0].pin_flow((200 << 8, 80), path, until, now).unwrap();
        for _ in 0..3 {
            assert_eq!(pair.send(0, &numbered(TCP, 0, 0, 1000)), [2], "{policy:?}");
        }
        let now = pair.now;
        pair.ends[0].set_enabled(path, false, now).unwrap();
        assert_eq!(
            pair.encapsulate(0, &numbered(TCP, 0, 0, 1000)),
            Err(EncapsulateError::NoPath),
            "{policy:?}"
        );
        pair.ends[0].remove_path(path, now).unwrap();
        assert_eq!(pair.ends[0].pin_flow((1, 2), path, until, now), Err(PinFlowError::UnknownPath));
        assert!(pair.encapsulate(0, &numbered(TCP, 0, 0, 1000)).is_ok(), "{policy:?}: another path");
    }
}
