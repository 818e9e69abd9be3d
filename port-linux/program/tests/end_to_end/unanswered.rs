//! A path on which nothing comes back says why, in the log and in the status.

use mpt_lab::stack::Stack;
use mpt_lab::topology::{Side, Topology};
use port_linux::report::ConnectionReport;

use crate::bench::{self, Mpt, Settings};

#[test]
fn a_path_without_an_answer_says_what_hosts_and_links_say_of_it() {
    bench::test(&[], || {
        let net = Topology::build(2, None)?;
        // Hosts send few refusals a second, and less often after a burst of them.
        net.pc2.sysctl("net.ipv4.icmp_ratelimit", "0")?;
        let settings = Settings::new(Side::Pc1, Stack::V4OverV4, 2).path(2, "remote", "172.16.2.99");
        let pc1 = Mpt::start(&net.pc1, &settings)?;
        let why = |connection: &ConnectionReport, path: usize, what: &str| {
            connection.paths[path].problem.as_deref().is_some_and(|problem| problem.contains(what))
        };
        let of_host = "no answer from 172.16.1.20 port 4754 for 5 s: host 172.16.1.20 says that nobody listens on UDP port 4754";
        let of_link = "no host on the link answers to the address 172.16.2.99";
        pc1.until("why no answer comes", |c| {
            why(c, 0, "host 172.16.1.20 says that nobody listens on UDP port 4754") && why(c, 1, of_link)
        })?;
        for line in [of_host, of_link] {
            assert_eq!(pc1.said().matches(line).count(), 1, "{}", pc1.said());
        }
        let pc2 = Mpt::start(&net.pc2, &Settings::new(Side::Pc2, Stack::V4OverV4, 2))?;
        pc2.until("the first path is up", |c| c.paths[0].state == port_linux::report::State::Up)?;
        pc1.until("nothing is wrong with it", |c| c.paths[0].problem.is_none()).map(drop)
    });
}
