//! A report for tests.

use serde_json::json;

use crate::report::{Counters, Report};

/// A report in which every number is there and differs from all others.
pub(crate) fn report() -> Report {
    let mut number = 1000;
    let mut next = || {
        number += 1;
        number
    };
    let path = json!({
        "name": "dsl", "local": "10.1.1.1:4754", "remote": null, "device": null, "state": "up", "reason": null, "rtt_us": next(),
        "weight": next(), "rank": 7, "max_datagram": next(), "tx_datagrams": next(), "tx_bytes": next(), "rx_datagrams": next(),
        "rx_bytes": next(), "probes": next(), "echoes": next(), "downs": next(),
        "not_sent": { "full": next(), "too_big": next(), "link": next(), "refused": next() },
        "roaming": { "challenges": next(), "moves": next(), "unproven": next(), "kept": next() },
        "model": { "tier": 3, "rate": next(), "phase": "cruise", "extra_delay_us": next(), "queue_us": next(), "jitter_us": next(),
            "lost": next(), "open": true, "suspect": false, "limited_by": "bandwidth" },
    });
    // All are there by default.
    let mut counters = serde_json::to_value(Counters::default()).unwrap();
    for counter in counters.as_object_mut().unwrap().values_mut() {
        *counter = next().into();
    }
    let connection = json!({
        "name": "vps", "peer": ["10.0.0.2"], "standby_of": "other", "used": true, "policy": "adaptive", "mode": "adaptive",
        "peer_is_mpt": true, "seal": { "public_key": "", "keys_age_ms": next(), "handshakes": next() }, "limit_bps": next(),
        "counters": counters, "dropped": { "late": next() }, "paths": [path],
    });
    let tunnel = json!({ "name": "mpt0", "addresses": [], "mtu": next(), "uptime_ms": next(), "dropped": { "no_route": next() } });
    serde_json::from_value(json!({ "version": 1, "tunnel": tunnel, "connections": [connection] })).unwrap()
}
