//! `mpt run` on a host of the laboratory, and what it says.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mpt_lab::host::{Host, Running, run};
use mpt_lab::topology::Side;
use mpt_lab::tunnel::{self, Security};
use serde_json::Value;

/// The program under test.
pub(crate) const MPT: &str = env!("CARGO_BIN_EXE_mpt");
/// Between two looks at what is waited for.
const GLANCE: Duration = Duration::from_millis(50);
/// Whether tunnels are sealed.
pub(crate) fn is_sealed() -> bool {
    Security::of_tests() != Security::None
}

/// Bytes that the seal takes of each datagram.
pub(crate) fn seal() -> u64 {
    Security::of_tests().overhead().into()
}

/// Looks until waiting is given up: ten seconds, several times what the slowest change needs.
const PATIENCE: u32 = 200;

/// A running mpt.
pub(crate) struct Mpt {
    pub(crate) running: Running,
    pub(crate) control: PathBuf,
    log: PathBuf,
}

impl Mpt {
    /// Sealed, but where tests are run without.
    pub(crate) fn start(host: &Host, config: &str) -> Result<Self> {
        Self::start_with(host, config, |_| {})
    }

    /// In the clear.
    pub(crate) fn start_clear(host: &Host, config: &str) -> Result<Self> {
        Self::start_as(host, config, |_| {})
    }

    pub(crate) fn start_with(host: &Host, config: &str, prepare: impl FnOnce(&mut Command)) -> Result<Self> {
        if !is_sealed() {
            return Self::start_as(host, config, prepare);
        }
        let side = if host.name() == "PC1" { Side::Pc1 } else { Side::Pc2 };
        tunnel::write_key(side, Path::new("/run"))?;
        Self::start_as(host, &tunnel::sealed(side, config)?, prepare)
    }

    fn start_as(host: &Host, config: &str, prepare: impl FnOnce(&mut Command)) -> Result<Self> {
        let file = |suffix: &str| PathBuf::from(format!("/run/{}.{suffix}", host.name()));
        let (toml, control, log) = (file("toml"), file("sock"), file("log"));
        fs::write(&toml, config)?;
        let output = File::create(&log)?;
        let mut command = host.command(MPT);
        command.arg("run").arg("-c").arg(&toml).arg("--control").arg(&control);
        command.stdout(output.try_clone()?).stderr(output);
        prepare(&mut command);
        let mut mpt = Self { running: host.spawn(&mut command)?, control, log };
        mpt.wait_for("its control socket", |mpt| mpt.status().is_ok())?;
        Ok(mpt)
    }

    pub(crate) fn status(&self) -> Result<Value> {
        let mut command = Command::new(MPT);
        command.args(["status", "--json", "--control"]).arg(&self.control);
        Ok(serde_json::from_str(&run(&mut command)?)?)
    }

    pub(crate) fn path(&self, name: &str) -> Result<Value> {
        let status = self.status()?;
        let paths = status["connections"][0]["paths"].as_array().context("paths")?;
        paths.iter().find(|path| path["name"] == name).cloned().context("the path")
    }

    pub(crate) fn received(&self, name: &str) -> u64 {
        self.path(name).ok().and_then(|path| path["rx_datagrams"].as_u64()).unwrap_or(0)
    }

    pub(crate) fn wait_for(&mut self, what: &str, reached: impl Fn(&Self) -> bool) -> Result<()> {
        for _ in 0..PATIENCE {
            if reached(self) {
                return Ok(());
            }
            if let Some(status) = self.running.ended()? {
                bail!("mpt ended ({status}) before {what}:\n{}", self.said());
            }
            sleep(GLANCE);
        }
        bail!("{what} did not come; mpt said:\n{}", self.said())
    }

    pub(crate) fn wait_until(&mut self, path: &str, state: &str) -> Result<()> {
        self.wait_for(&format!("path {path} {state}"), |mpt| {
            mpt.path(path).is_ok_and(|path| path["state"] == state)
        })
    }

    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}
