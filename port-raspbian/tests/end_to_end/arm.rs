//! What the tests share: the processors, and an `mpt` that is waited for.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mpt_lab::host::{Host, Running, run};
use mpt_lab::namespace;
use serde_json::Value;

/// This machine's own program.
pub(crate) const NATIVE: &str = env!("CARGO_BIN_EXE_mpt-raspbian");
/// Where configurations, keys, sockets and logs are: in the namespace's own /run, so that they vanish with it.
pub(crate) const DIRECTORY: &str = "/run";
/// Between two looks at what is waited for.
const GLANCE: Duration = Duration::from_millis(100);
/// Looks until waiting is given up: a minute, as emulation is slow on a busy machine.
const PATIENCE: u32 = 600;
/// A processor to emulate.
pub(crate) struct Arm {
    /// Rust's name.
    pub(crate) target: &'static str,
    /// Debian's name.
    pub(crate) debian: &'static str,
    /// The emulator of its programs.
    pub(crate) emulator: &'static str,
    /// Where its libraries are.
    pub(crate) libraries: &'static str,
}

/// A 64-bit Raspberry Pi OS: Pi 3 and later.
pub(crate) const AARCH64: Arm = Arm {
    target: "aarch64-unknown-linux-gnu",
    debian: "arm64",
    emulator: "qemu-aarch64-static",
    libraries: "/usr/aarch64-linux-gnu",
};

/// A 32-bit one: Pi 2 and later.
pub(crate) const ARMV7: Arm = Arm {
    target: "armv7-unknown-linux-gnueabihf",
    debian: "armhf",
    emulator: "qemu-arm-static",
    libraries: "/usr/arm-linux-gnueabihf",
};

impl Arm {
    /// The cross-built program.
    pub(crate) fn program(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../target/cross")
            .join(self.target)
            .join("release/mpt-raspbian")
    }

    /// Whether the test cannot run, for want of the cross-built program or one of these tools: then it is skipped and
    /// says so, unless `MPT_REQUIRE_ARM` is set.
    pub(crate) fn is_skipped(&self, name: &str, tools: &[&str]) -> bool {
        let program = self.program();
        let missing = if program.is_file() {
            tools
                .iter()
                .find(|tool| !namespace::is_installed(tool))
                .map(|tool| format!("{tool} is not installed"))
        } else {
            Some(format!("{} is not there: run port-raspbian/build", program.display()))
        };
        if let Some(missing) = &missing {
            assert!(std::env::var_os("MPT_REQUIRE_ARM").is_none(), "{missing}");
            eprintln!("SKIPPED {name}: {missing}");
        }
        missing.is_some()
    }
}

/// One end of the tunnel.
pub(crate) struct End {
    /// The process.
    pub(crate) running: Running,
    control: PathBuf,
    log: PathBuf,
}

impl End {
    /// Starts `program` with its arguments on a host.
    pub(crate) fn start(host: &Host, program: &[&str], text: &str) -> Result<Self> {
        let file = |suffix: &str| Path::new(DIRECTORY).join(format!("{}.{suffix}", host.name()));
        let (toml, control, log) = (file("toml"), file("sock"), file("log"));
        fs::write(&toml, text)?;
        let output = File::create(&log)?;
        let (first, rest) = program.split_first().context("a program")?;
        let mut command = host.command(first);
        command.args(rest).arg("run").arg("-c").arg(&toml).arg("--control").arg(&control);
        Ok(Self { running: host.spawn(command.stdout(output.try_clone()?).stderr(output))?, control, log })
    }

    /// The connection, as `mpt status` reports it.
    fn connection(&self) -> Result<Value> {
        let mut command = Command::new(NATIVE);
        let status = run(command.args(["status", "--json", "--control"]).arg(&self.control))?;
        let status: Value = serde_json::from_str(&status)?;
        Ok(status["connections"][0].clone())
    }

    /// Its paths.
    pub(crate) fn paths(&self) -> Result<Vec<Value>> {
        self.connection()?["paths"].as_array().cloned().context("paths")
    }

    /// What its packets are sealed by.
    pub(crate) fn cipher(&self) -> Result<String> {
        self.connection()?["seal"]["cipher"].as_str().map(str::to_owned).context("a cipher")
    }

    /// Waits for a state of the paths.
    pub(crate) fn wait_for(&mut self, what: &str, reached: impl Fn(&[Value]) -> bool) -> Result<()> {
        for _ in 0..PATIENCE {
            if self.paths().is_ok_and(|paths| reached(&paths)) {
                return Ok(());
            }
            if let Some(status) = self.running.ended()? {
                bail!("mpt ended ({status}) before {what}: {}", fs::read_to_string(&self.log)?);
            }
            sleep(GLANCE);
        }
        bail!("{what} did not come: {}", fs::read_to_string(&self.log)?)
    }

    /// Waits until so many paths are up.
    pub(crate) fn wait_until_up(&mut self, wanted: usize) -> Result<()> {
        self.wait_for(&format!("{wanted} paths up"), |paths| {
            paths.iter().filter(|path| path["state"] == "up").count() == wanted
        })
    }
}
