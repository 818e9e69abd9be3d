//! Liveness, keys and metrics.

use super::{CONNECTION, Case, PATH, TUNNEL, assert_refused, instead, lines, with};

#[test]
fn a_bad_table_is_answered_with_line_key_found_and_allowed() {
    let cases: Vec<Case> = vec![
        // Liveness.
        (
            with(PATH, "liveness = \"often\""),
            lines(13),
            "connection.path.liveness = \"often\": unknown word",
            "\"lab\", \"internet\", \"off\" or a table",
        ),
        (
            with(PATH, "liveness = { interval_ms = 4, idle_ms = 9, dead_ms = 9 }"),
            lines(13),
            "connection.path.liveness.interval_ms = 4",
            "from 5 to",
        ),
        (
            with(PATH, "liveness = { interval_ms = 25, idle_ms = 24, dead_ms = 50 }"),
            lines(13),
            "connection.path.liveness.idle_ms = 24: shorter",
            "25 or more",
        ),
        (
            with(CONNECTION, "liveness = { interval_ms = 25, idle_ms = 25, dead_ms = 49 }"),
            lines(8),
            "connection.liveness.dead_ms = 49: a single lost probe",
            "50 or more",
        ),
        (
            with(PATH, "liveness = { interval_ms = 25, idle_ms = 25 }"),
            lines(13),
            "connection.path.liveness.dead_ms: missing",
            "dead_ms = 125",
        ),
        (
            with(PATH, "liveness = { interval = 25, idle_ms = 25, dead_ms = 50 }"),
            lines(13),
            "connection.path.liveness.interval = 25: unknown key",
            "interval_ms, idle_ms, dead_ms",
        ),
        // Keys.
        (
            with(PATH, "wieght = 5"),
            lines(13),
            "connection.path.wieght = 5: unknown key, did you mean `weight`?",
            "name, local, remote",
        ),
        (
            with(PATH, "colour = 5"),
            lines(13),
            "connection.path.colour = 5: unknown key;",
            "name, local, remote",
        ),
        (
            with(TUNNEL, "addres = 1"),
            lines(4),
            "tunnel.addres = 1: unknown key, did you mean `address`?",
            "name, address, mtu, queue",
        ),
        (
            with(PATH, "[tunel]"),
            lines(13),
            "tunel: unknown key, did you mean `tunnel`?",
            "tunnel, listen, metrics, portal, forward, hook, connection",
        ),
        (
            instead("local =", "# local ="),
            lines(9),
            "connection.path.local: missing",
            "local = \"172.16.1.10\"",
        ),
        (instead("name = \"pc2\"", ""), lines(5), "connection.name: missing", "name = \"office\""),
        (
            instead("address =", "# address ="),
            lines(2),
            "tunnel.address: missing",
            "address = [\"10.0.0.1/24\"]",
        ),
        (String::new(), lines(1), "tunnel: missing", "[tunnel] with address"),
        (with(PATH, "weight = 1\nweight = 2"), lines(14), "weight = 2: duplicate key", "each key once"),
        (
            with(PATH, "device = eth0"),
            lines(13),
            "device = eth0: string values must be quoted",
            "text in quotes",
        ),
        (
            instead("\"172.16.1.20\"", "172.16.1.20"),
            lines(12),
            "remote = 172.16.1.20: invalid float",
            "text in quotes",
        ),
        (with(PATH, "weight = = 2"), lines(13), "weight = = 2: extra `=`", "nothing"),
        (with(PATH, "device = \"eth1"), lines(13), "device = \"eth1: invalid basic string", "`\"`"),
        // Metrics are for this host alone.
        (
            with(TUNNEL, "[portal]\nurl = \"https://example.net/\""),
            lines(5),
            "portal.url = \"https://example.net/\": not http://",
            "an address such as \"http://connectivitycheck.gstatic.com/generate_204\"",
        ),
        (
            with(TUNNEL, "[portal]\nanswer = 302"),
            lines(5),
            "portal.answer = 302: out of range",
            "a status of HTTP from 200 to 299 such as 204, or the text",
        ),
        (
            with(TUNNEL, "[portal]\nanswer = \"\""),
            lines(5),
            "portal.answer = \"\": empty",
            "or the text of the answer",
        ),
        (
            with(PATH, "portal_check = 1"),
            lines(13),
            "connection.path.portal_check = 1: wrong type",
            "true or false",
        ),
        (
            with(TUNNEL, "[metrics]\nlisten = \"0.0.0.0:9475\""),
            lines(5),
            "metrics.listen = \"0.0.0.0:9475\": other hosts could read it",
            "a loopback address with a port, such as 127.0.0.1:9475",
        ),
        (
            with(TUNNEL, "[metrics]\nlisten = \"[2001:db8::1]:9475\""),
            lines(5),
            "metrics.listen = \"[2001:db8::1]:9475\": other hosts could read it",
            "a loopback address",
        ),
        (
            with(TUNNEL, "[metrics]\nlisten = \"127.0.0.1\""),
            lines(5),
            "metrics.listen = \"127.0.0.1\": the port is missing",
            "a loopback address with a port",
        ),
        (
            with(TUNNEL, "[metrics]\nlisten = \"127.0.0.1:0\""),
            lines(5),
            "metrics.listen = \"127.0.0.1:0\": port 0 is none",
            "a loopback address with a port",
        ),
        (
            with(TUNNEL, "[metrics]\nlisten = \"localhost:9475\""),
            lines(5),
            "metrics.listen = \"localhost:9475\": not an address with a port",
            "a loopback address with a port",
        ),
        (
            with(TUNNEL, "[metrics]\nsocket = \"no\""),
            lines(5),
            "metrics.socket = \"no\": wrong type",
            "true or false",
        ),
        (
            with(TUNNEL, "[metrics]\nport = 9475"),
            lines(5),
            "metrics.port = 9475: unknown key",
            "socket, listen",
        ),
    ];
    assert_refused(&cases);
}
