use super::*;
use crate::config::Config;

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
