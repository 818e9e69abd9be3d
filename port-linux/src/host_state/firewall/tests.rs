use super::*;
use crate::config::Config;
use crate::host_state::{Family, Traffic};

/// A configuration with these lines in `[tunnel]` and a default route through it.
fn wanted(tunnel: &str) -> HostState {
    let text = format!(
        "security = \"none\"\n[tunnel]\nname = \"tun.7\"\naddress = [\"10.0.0.1/24\", \"fd00::1/64\"]\n{tunnel}\n\
         [[connection]]\nname = \"c\"\npeer = [\"10.0.0.2\"]\n[[connection.network]]\nto = \"0.0.0.0/0\"\n\
         [[connection.path]]\nname = \"p\"\nlocal = \"172.16.1.10\"\nremote = \"172.16.1.20\"\n"
    );
    HostState::wanted(&Config::parse(&text, "mpt.toml").unwrap())
}

const ALL: &str = "share = [\"192.168.6.0/24\", \"lan0\"]\ndirect = [\"198.51.100.0/24\", \"tcp 22\", \"udp 500-510\", \"user backup\"]";

/// As `nft` 1.0.6 lists the table of [`ALL`].
const LISTING: &str = "table inet mpt_tun.7 {
\tchain prerouting {
\t\ttype filter hook prerouting priority mangle; policy accept;
\t\tiifname != { \"lo\", \"tun.7\" } tcp dport 22 meta mark set 0x00004754 comment \"direct tcp 22, forwarded\"
\t\tiifname != { \"lo\", \"tun.7\" } udp dport 500-510 meta mark set 0x00004754 comment \"direct udp 500-510, forwarded\"
\t}

\tchain output {
\t\ttype route hook output priority mangle; policy accept;
\t\ttcp dport 22 meta mark set 0x00004754 comment \"direct tcp 22\"
\t\tudp dport 500-510 meta mark set 0x00004754 comment \"direct udp 500-510\"
\t\tmeta skuid 34 meta mark set 0x00004754 comment \"direct user backup\"
\t}

\tchain postrouting {
\t\ttype nat hook postrouting priority srcnat; policy accept;
\t\toifname \"tun.7\" ip saddr 192.168.6.0/24 masquerade comment \"share 192.168.6.0/24\"
\t\toifname \"tun.7\" iifname \"lan0\" masquerade comment \"share lan0\"
\t\toifname != \"tun.7\" meta mark 0x00004754 ip saddr 10.0.0.1 masquerade comment \"direct from 10.0.0.1\"
\t\toifname != \"tun.7\" meta mark 0x00004754 ip6 saddr fd00::1 masquerade comment \"direct from fd00::1\"
\t}
}
";

fn known(listing: &str, state: &HostState) -> usize {
    known_again(listing, rules(state)).len()
}

#[test]
fn a_table_is_known_again_as_nft_lists_it_and_by_nothing_less_than_all_of_it() {
    let state = wanted(ALL);
    assert_eq!((known(LISTING, &state), rules(&state).count()), (9, 9));
    // One less is a rule that is missing; one that is moved, or another one besides, spoils the whole.
    let without = |text: &str| -> String {
        LISTING.lines().filter(|line| !line.contains(text)).map(|line| format!("{line}\n")).collect()
    };
    assert_eq!(known(&without("share lan0"), &state), 8);
    assert_eq!(known(&LISTING.replace("\tchain output", "\tchain other"), &state), 0);
    assert_eq!(known(&LISTING.replace("comment \"share lan0\"", "comment \"share lan1\""), &state), 0);
    assert_eq!(known(&LISTING.replace(" comment \"share lan0\"", ""), &state), 0);
    assert_eq!(known(LISTING, &wanted("share = [\"lan0\"]")), 0);
    assert_eq!(known("table inet mpt_tun.7 {\n}\n", &state), 0);
    // The rule of a control group that was removed is none, and spoils nothing.
    let stale = "\t\tsocket cgroupv2 level 1 25 meta mark set 0x00004754 comment \"direct cgroup x\"";
    assert_eq!(known(&LISTING.replace("\t\tmeta skuid", &format!("{stale}\n\t\tmeta skuid")), &state), 9);
    assert_eq!(
        known(&LISTING.replace("\t\tmeta skuid", "\t\tudp dport 1 accept\n\t\tmeta skuid"), &state),
        0
    );
}

#[test]
fn networks_that_are_direct_and_nothing_at_all_need_no_table() {
    for lines in ["", "direct = [\"198.51.100.0/24\", \"2001:db8::/32\"]", "dns = [\"10.0.0.2\"]"] {
        assert!(!wanted(lines).items.contains(&Item::Table), "{lines}");
    }
    let text = script(&wanted(""));
    assert_eq!(text, "table inet mpt_tun.7 {\n}\ndelete table inet mpt_tun.7\n");
}

#[test]
fn a_group_that_does_not_exist_is_waited_for() {
    let state = wanted("direct = [\"cgroup /sys/fs/cgroup/no.slice/such.service/\", \"udp 53\"]");
    assert_eq!(awaited(&state), ["no.slice/such.service"]);
    assert!(!script(&state).contains("cgroup"));
    assert!(state.warnings()[0].contains("no control group no.slice/such.service"));
    let rule = rules(&state).find(|rule| rule.awaits().is_some()).unwrap();
    assert_eq!(
        rule.statement("mpt0"),
        "socket cgroupv2 level 2 \"no.slice/such.service\" meta mark set 0x4754"
    );
}

#[test]
fn long_comments_are_cut_and_still_told_apart() {
    let rule = |last: &str| {
        let path = format!("{}{last}", "deep/".repeat(40));
        TableRule::Direct { exception: Exception::Cgroup(path), forwarded: false }.comment()
    };
    assert!(rule("a").len() <= COMMENT_MAX);
    assert_ne!(rule("a"), rule("b"));
}

/// A home with these tables at its end, and a default route through the tunnel, with `from` for some packets.
fn home(from: &str, forwards: &str) -> HostState {
    let text = format!(
        "security = \"none\"\n[tunnel]\naddress = [\"10.0.0.2/24\", \"fd00::2/64\"]\n[[connection]]\nname = \"c\"\npeer = [\"10.0.0.1\"]\n\
         [[connection.network]]\nto = \"0.0.0.0/0\"\n{from}\n[[connection.path]]\nname = \"p\"\nlocal = \"172.16.1.10\"\n\
         remote = \"172.16.1.20\"\n{forwards}"
    );
    HostState::wanted(&Config::parse(&text, "mpt.toml").unwrap())
}

fn statements(state: &HostState) -> Vec<String> {
    rules(state).map(|rule| rule.statement("mpt0")).collect()
}

#[test]
fn ports_lead_into_the_tunnel_from_everywhere_but_its_own_addresses() {
    let forwards = "[[forward]]\nproto = [\"tcp\", \"udp\"]\nport = 8443\nto = \"10.0.0.7:443\"\n\
                    [[forward]]\nproto = \"udp\"\nport = \"8000-8010\"\nto = \"fd00::7\"\n\
                    [[forward]]\nproto = \"tcp\"\nport = 80\nto = \"[fd00::7]:8080\"\naddress = \"2001:db8::1\"\n";
    let state = home("", forwards);
    let outside = "fib daddr type local ip daddr != { 10.0.0.2 }";
    assert_eq!(
        statements(&state),
        [
            "ip6 daddr 2001:db8::1 tcp dport 80-80 dnat ip6 to [fd00::7]:8080".to_owned(),
            format!("{outside} tcp dport 8443-8443 dnat ip to 10.0.0.7:443"),
            "fib daddr type local ip6 daddr != { fd00::2 } udp dport 8000-8010 dnat ip6 to fd00::7"
                .to_owned(),
            format!("{outside} udp dport 8443-8443 dnat ip to 10.0.0.7:443"),
        ]
    );
    for family in Family::BOTH {
        assert!(state.items.contains(&Item::Forwarding(family)));
    }
    let comments: Vec<String> = rules(&state).map(TableRule::comment).collect();
    assert_eq!(comments[1], "forward tcp 8443 to 10.0.0.7:443, not of 10.0.0.2");
    assert_eq!(comments[0], "forward tcp 80 of 2001:db8::1 to [fd00::7]:8080");
}

#[test]
fn a_host_of_the_lan_is_reached_out_of_the_tunnel_and_its_answers_go_back() {
    let forward = "[[forward]]\nproto = \"tcp\"\nport = 443\nto = \"192.168.6.2\"\n";
    let statement = "iifname \"mpt0\" fib daddr type local tcp dport 443-443 dnat ip to 192.168.6.2";
    assert_eq!(statements(&home("", forward)), [statement], "everything takes the tunnel anyway");
    let state = home("from = \"10.0.0.2/32\"", forward);
    assert_eq!(
        statements(&state),
        [
            statement,
            "iifname != \"mpt0\" ct direction reply ct original ip daddr 10.0.0.2 meta mark set 0x4755"
        ]
    );
    assert!(state.items.contains(&Item::TunnelRule(Traffic::Replies(Family::V4))));
    assert!(!state.items.contains(&Item::TunnelRule(Traffic::Replies(Family::V6))));
}
