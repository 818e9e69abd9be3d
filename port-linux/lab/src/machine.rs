//! The machine that a result was measured on.

use std::fmt;
use std::fs;
use std::thread;

use serde::Serialize;

/// What is worth knowing about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// Name and release of the kernel.
    pub kernel: String,
    /// The processor, as it calls itself.
    pub cpu: String,
    /// Processors that may be used.
    pub cores: usize,
    /// Version of this program.
    pub mpt: String,
}

impl Machine {
    /// This one.
    pub fn describe() -> Self {
        let uname = rustix::system::uname();
        let [system, release, architecture] = [uname.sysname(), uname.release(), uname.machine()]
            .map(|text| text.to_string_lossy().into_owned());
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Self {
            kernel: format!("{system} {release}"),
            cpu: model(&cpuinfo).unwrap_or(&architecture).to_owned(),
            cores: thread::available_parallelism().map_or(1, usize::from),
            mpt: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// The first processor's name in /proc/cpuinfo; some architectures have none there.
fn model(cpuinfo: &str) -> Option<&str> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(':').map(|(_, name)| name.trim())
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cores of {}, {}, mpt {}", self.cores, self.cpu, self.kernel, self.mpt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_called_by_its_name() {
        assert_eq!(model("processor\t: 0\nmodel\t\t: 1\nmodel name\t: Fast 9000\n"), Some("Fast 9000"));
        assert_eq!(model("processor\t: 0\n"), None);
    }
}
