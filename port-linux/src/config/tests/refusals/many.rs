//! Too few, too many, twice.

use super::{Case, MINIMAL, assert_refused, lines, second_path};

#[test]
fn what_there_is_too_few_or_too_many_of_is_answered_with_line_key_found_and_allowed() {
    let second_connection = |lines: &str| {
        let path = "[[connection.path]]\nname = \"x\"\nlocal = \"172.16.2.10\"\nremote = \"172.16.2.20\"";
        format!("{MINIMAL}[[connection]]\n{lines}\n{path}\n")
    };
    let pins: Vec<String> = (1..=65).map(|port| port.to_string()).collect();
    let many_paths: String = (2..=17)
        .map(|i| {
            format!("[[connection.path]]\nname = \"p{i}\"\nlocal = \"10.9.{i}.1\"\nremote = \"10.9.{i}.2\"\n")
        })
        .collect();
    let connection_only =
        MINIMAL.split("[[connection.path]]").next().expect("text before the path").to_owned();
    let tunnel_only = MINIMAL.split("[[connection]]").next().expect("text before the connection").to_owned();
    let cases: Vec<Case> = vec![
        // Too few, too many, twice.
        (tunnel_only, "mpt.toml: ".to_owned(), "no connection", "[[connection]] or more"),
        (connection_only, lines(5), "connection: no path", "1 to 16 tables [[connection.path]]"),
        (format!("{MINIMAL}{many_paths}"), lines(73), "connection.path: one path too many", "1 to 16 tables"),
        (
            format!("{MINIMAL}tcp_dst = [{}]", pins.join(", ")),
            lines(13),
            "connection.path.tcp_dst = 65: port 65 is one pin too many",
            "at most 64 pinned ports",
        ),
        (
            second_path("local = \"172.16.2.10\"\nremote = \"172.16.2.20\"").replace("\"b\"", "\"left\""),
            lines(14),
            "connection.path.name = \"left\": the path in line 10",
            "no other path",
        ),
        (
            second_path("local = \"172.16.1.10\"\nremote = \"172.16.1.20\""),
            lines(15),
            "connection.path.local = \"172.16.1.10\": the path in line 11",
            "differ in `local`",
        ),
        (
            second_path("tcp_src = [7]\nlocal = \"172.16.2.10\"\nremote = \"172.16.2.20\"").replacen(
                "local =",
                "tcp_src = [7]\nlocal =",
                1,
            ),
            lines(16),
            "connection.path.tcp_src = 7: port 7 is pinned to another path in line 11",
            "on one path",
        ),
        (
            second_connection("name = \"pc2\"\npeer = [\"10.0.0.3\"]"),
            lines(14),
            "connection.name = \"pc2\": the connection in line 6",
            "no other connection",
        ),
        (
            second_connection("name = \"pc3\"\npeer = [\"10.0.0.2\"]"),
            lines(15),
            "connection.peer = \"10.0.0.2\": stands in line 7",
            "once in the file",
        ),
    ];
    assert_refused(&cases);
}
