//! An SD card that is full: nothing that mpt does for packets needs the disk.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::process::Command;

use anyhow::{Result, ensure};
use mpt_lab::host::run;
use mpt_lab::topology::Topology;

use crate::mpt::{MPT, Mpt};
use crate::test;

const CONFIG: &str = r#"
[tunnel]
address = ["10.0.0.HERE/24"]
[[connection]]
name = "other"
peer = ["10.0.0.THERE"]
liveness = "lab"
[[connection.path]]
name = "one"
local = "172.16.1.HERE0"
remote = "172.16.1.THERE0"
[[connection.path]]
name = "two"
local = "172.16.2.HERE0"
remote = "172.16.2.THERE0"
"#;

fn config(here: &str, there: &str) -> String {
    CONFIG.replace("THERE", there).replace("HERE", here)
}

/// A file system of two pages with a file on it, which `fill` has left no room for.
fn small_disk() -> Result<()> {
    fs::create_dir_all("/run/disk")?;
    run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=8k", "none", "/run/disk"])).map(drop)
}

fn fill(path: &str) -> Result<()> {
    let mut file = File::create(path)?;
    loop {
        match file.write(&[b'x'; 4096]) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

#[test]
fn a_disk_that_fills_under_the_log_ends_nothing() {
    test(&["ping"], || {
        small_disk()?;
        let net = Topology::build(2, None)?;
        // Full from the start for one, later for the other.
        let full = File::options().write(true).open("/dev/full")?;
        let mut pc2 = Mpt::start_with(&net.pc2, &config("2", "1"), |command| {
            command.arg("-vv").stderr(full);
        })?;
        let log = File::create("/run/disk/log")?;
        let mut pc1 = Mpt::start_with(&net.pc1, &config("1", "2"), |command| {
            command.arg("-vv").stdout(log.try_clone().expect("a descriptor")).stderr(log);
        })?;
        for path in ["one", "two"] {
            pc1.wait_until(path, "up")?;
        }

        fill("/run/disk/rubbish")?;
        // Much is to be logged now, for every datagram and for changes of links.
        net.pc2.run("ip link set eth2 down")?;
        pc1.wait_until("two", "down")?;
        net.pc1.run("ping -c 20 -i 0.01 -W 2 10.0.0.2")?;
        net.pc2.run("ip link set eth2 up")?;
        pc1.wait_until("two", "up")?;

        let log = fs::metadata("/run/disk/log")?.len();
        ensure!(fs::read("/run/disk/log")?.len() as u64 == log && log <= 8192);
        ensure!(fill("/run/disk/more").is_ok(), "it is full");
        ensure!(pc1.running.stop()?.success() && pc2.running.stop()?.success(), "they end as they should");
        Ok(())
    });
}

#[test]
fn where_no_file_can_be_made_mpt_says_so_and_leaves_nothing() {
    test(&[], || {
        let net = Topology::build(2, None)?;
        fs::create_dir_all("/run/disk")?;
        // Room for bytes, and none for another file.
        run(Command::new("mount").args(["-t", "tmpfs", "-o", "nr_inodes=1", "none", "/run/disk"]))?;
        fs::write("/run/pc1.toml", config("1", "2"))?;
        let mut command = net.pc1.command(MPT);
        command.args(["run", "-c", "/run/pc1.toml", "--control", "/run/disk/mpt.sock"]);
        let output = command.output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(1), "{said}");
        ensure!(said.contains("cannot make the control socket /run/disk/mpt.sock: No space left"), "{said}");
        ensure!(net.pc1.run("ip link show dev mpt0").is_err(), "no interface is left");
        Ok(())
    });
}

#[test]
fn an_answer_that_does_not_fit_on_the_disk_is_an_error_and_no_panic() {
    test(&[], || {
        fs::write("/run/pc1.toml", config("1", "2"))?;
        for (stderr, code) in [(None, 1), (Some("/dev/full"), 1)] {
            let mut command = Command::new(MPT);
            command.args(["check", "/run/pc1.toml"]).stdout(File::options().write(true).open("/dev/full")?);
            if let Some(stderr) = stderr {
                command.stderr(File::options().write(true).open(stderr)?);
            }
            let output = command.output()?;
            ensure!(output.status.code() == Some(code), "{output:?}");
        }
        Ok(())
    });
}
