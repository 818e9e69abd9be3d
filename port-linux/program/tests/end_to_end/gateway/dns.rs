//! The resolver while the tunnel is there: `tunnel.dns`. Stand-ins for `resolvconf` and `resolvectl` keep what they are told in
//! the places of the real ones; `packaging/test-resolvers` runs the real ones.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use mpt_lab::host;
use rustix::process::Signal;

use super::lan::{list, without};
use super::{World, client};
use crate::bench::{self, DEVICE, Mpt, complaint, refused, until};
use crate::programs::Tool;

const SERVERS: [&str; 2] = ["10.0.0.2", "9.9.9.9"];

/// What openresolv does with records: one file each.
const RESOLVCONF: &str = r#"#!/bin/sh
set -e
mkdir -p /run/resolvconf/interfaces
while [ $# -gt 0 ]; do case "$1" in
    -a) cat >"/run/resolvconf/interfaces/$2"; shift ;;
    -d) rm "/run/resolvconf/interfaces/$2"; shift ;;
    -m) shift ;;
    -x | -f) ;;
    *) echo "unknown option $1" >&2; exit 2 ;;
esac; shift; done
"#;

/// What systemd-resolved knows of an interface. The real one forgets it with the interface.
const RESOLVECTL: &str = r#"#!/bin/sh
set -e
what=$1 device=$2
shift 2
case "$what" in
    revert) rm -f /run/resolved.dns /run/resolved.domain ;;
    default-route) ;;
    dns | domain) if [ $# -gt 0 ]; then echo "$*" >"/run/resolved.$what"
        else echo "Link 7 ($device): $(cat "/run/resolved.$what" 2>/dev/null)"; fi ;;
    *) echo "unknown command $what" >&2; exit 1 ;;
esac
"#;

/// Has these programs come first on everybody's search path, in this test alone.
pub(crate) fn install(programs: &[(&str, &str)]) -> anyhow::Result<()> {
    host::run(Command::new("mount").args(["-t", "tmpfs", "none", "/usr/local/sbin"]))?;
    for (name, script) in programs {
        let file = format!("/usr/local/sbin/{name}");
        fs::write(&file, script)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

fn with_dns() -> bench::Settings {
    client().tunnel("dns", list(&SERVERS))
}

#[test]
fn resolvconf_has_a_record_of_mpts_while_it_runs() {
    bench::test(&[Tool::Nft], || {
        let world = World::build()?;
        install(&[("resolvconf", RESOLVCONF)])?;
        let file = "/run/resolvconf/interfaces/tun.tun0";
        let record = || fs::read_to_string(file).unwrap_or_default();
        let wanted = "nameserver 10.0.0.2\nnameserver 9.9.9.9\n";

        let mut pc1 = Mpt::start(&world.net.pc1, &with_dns())?;
        until("a record", || Ok(record() == wanted))?;
        // Somebody removes it, and the next thing that happens on the host shows that.
        fs::remove_file(file)?;
        world.pc1("ip route add 192.0.2.0/24 dev eth2")?;
        until("back", || Ok(record() == wanted))?;
        assert!(pc1.said().contains("mpt put back: resolver 10.0.0.2 9.9.9.9 of tun0"), "{}", pc1.said());
        assert!(pc1.end(Signal::TERM)?.success(), "{}", pc1.said());
        assert_eq!(record(), "");

        Mpt::start(&world.net.pc1, &with_dns())?.end(Signal::KILL)?;
        assert_eq!(record(), wanted);
        let said = world.clean(DEVICE)?;
        assert!(said.contains("removed: resolver 10.0.0.2 9.9.9.9 of tun0"), "{said}");
        assert_eq!(record(), "");

        // Other servers, and none, are taken over from one that was killed.
        Mpt::start(&world.net.pc1, &with_dns())?.end(Signal::KILL)?;
        let other = client().tunnel("dns", list(&["10.0.0.3"]));
        Mpt::start(&world.net.pc1, &other)?.end(Signal::KILL)?;
        assert_eq!(record(), "nameserver 10.0.0.3\n");
        let mut plain = Mpt::start(&world.net.pc1, &client())?;
        assert_eq!(record(), "");
        assert!(plain.end(Signal::TERM)?.success());
        Ok(())
    });
}

#[test]
fn systemd_resolved_comes_first_where_it_runs() {
    bench::test(&[Tool::Nft], || {
        let world = World::build()?;
        install(&[("resolvconf", RESOLVCONF), ("resolvectl", RESOLVECTL)])?;
        fs::create_dir_all("/run/systemd/resolve")?;
        fs::write("/run/systemd/resolve/io.systemd.Resolve", "")?;
        let known = |what: &str| fs::read_to_string(format!("/run/resolved.{what}")).unwrap_or_default();

        let mut pc1 = Mpt::start(&world.net.pc1, &with_dns())?;
        until("servers", || Ok(known("dns") == "10.0.0.2 9.9.9.9\n" && known("domain") == "~.\n"))?;
        assert!(!fs::exists("/run/resolvconf")?);
        assert!(pc1.end(Signal::TERM)?.success(), "{}", pc1.said());
        Ok(())
    });
}

#[test]
fn without_a_resolver_to_tell_mpt_says_what_to_install_and_changes_nothing() {
    bench::test(&[Tool::Nft], || {
        let world = World::build()?;
        let before = world.state()?;
        let said = without("resolvconf", || complaint(&refused(&world.net.pc1, &with_dns())?, 1))?;
        assert!(said.contains("sudo apt install openresolv"), "{said}");
        assert_eq!(world.state()?, before);

        // One that fails is repeated, and what was done before is undone.
        install(&[("resolvconf", "#!/bin/sh\necho no room for records >&2\nexit 1\n")])?;
        let said = complaint(&refused(&world.net.pc1, &with_dns())?, 1)?;
        assert!(said.contains("cannot set the resolver of tun0: no room for records"), "{said}");
        assert_eq!(world.state()?, before);
        Ok(())
    });
}
