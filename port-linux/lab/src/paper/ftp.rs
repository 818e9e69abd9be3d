//! The paper's download with real programs: vsftpd on PC2, curl on PC1.

use std::fs::{self, File};
use std::net::IpAddr;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use crate::cpu::{self, Cpu};
use crate::namespace;
use crate::topology::Topology;

/// Where the file lies: in memory, and full of holes, so that reading it costs no disk and no memory.
const DIRECTORY: &str = "/run/mpt-lab/ftp";

/// How long the server may take until it answers.
const PATIENCE: Duration = Duration::from_secs(5);

/// One download.
#[derive(Debug, Clone, Copy)]
pub(super) struct Download {
    /// From the first connection to the last byte, in seconds.
    pub(super) seconds: f64,
    /// CPU time in between.
    pub(super) cpu: Cpu,
}

/// Whether both programs are here.
pub(super) fn is_installed() -> bool {
    ["vsftpd", "curl"].into_iter().all(namespace::is_installed)
}

/// Downloads a file of that size from an address of PC2.
pub(super) fn download(
    net: &Topology,
    from: IpAddr,
    size: u64,
    processes: &[u32],
) -> anyhow::Result<Download> {
    let directory = Path::new(DIRECTORY);
    fs::create_dir_all(directory)?;
    File::create(directory.join("file"))?.set_len(size).context("cannot make the file to download")?;
    let config = directory.with_extension("conf");
    // As the user who runs it: in a user namespace there is no other. IPv6 sockets serve IPv4 too.
    let text = format!(
        "listen=NO\nlisten_ipv6=YES\nbackground=NO\nanonymous_enable=YES\nno_anon_password=YES\n\
         local_enable=NO\nanon_root={DIRECTORY}\nrun_as_launching_user=YES\nseccomp_sandbox=NO\n\
         connect_from_port_20=NO\nxferlog_enable=NO\n"
    );
    fs::write(&config, text)?;
    let mut server = net.pc2.command("vsftpd");
    server.arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
    let mut server = net.pc2.spawn(&mut server)?;
    wait_for_port(net, from)?;

    let host = if from.is_ipv6() { format!("[{from}]") } else { from.to_string() };
    let cpu = cpu::Meter::start(processes)?;
    let json = net.pc1.run(&format!(
        "curl --silent --show-error --fail --output /dev/null --write-out %{{json}} ftp://{host}/file"
    ))?;
    let cpu = cpu.read()?;
    server.stop()?;
    let (seconds, bytes) = parse(&json)?;
    ensure!(bytes == size, "curl got {bytes} of {size} bytes");
    Ok(Download { seconds, cpu })
}

fn wait_for_port(net: &Topology, address: IpAddr) -> anyhow::Result<()> {
    let connect = || std::net::TcpStream::connect_timeout(&(address, 21).into(), Duration::from_secs(1));
    let glance = Duration::from_millis(50);
    for _ in 0..PATIENCE.as_millis() / glance.as_millis() {
        if net.pc1.inside(connect)?.is_ok() {
            return Ok(());
        }
        thread::sleep(glance);
    }
    anyhow::bail!("vsftpd does not answer on {address}")
}

/// Seconds and bytes, of what curl says.
fn parse(json: &str) -> anyhow::Result<(f64, u64)> {
    #[derive(Deserialize)]
    struct Output {
        time_total: f64,
        size_download: u64,
    }
    let output: Output = serde_json::from_str(json).context("cannot read what curl says")?;
    Ok((output.time_total, output.size_download))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curl_is_read() {
        let json = r#"{"size_download":1000000000,"speed_download":1.0,"time_total":22.5}"#;
        assert_eq!(parse(json).expect("read"), (22.5, 1_000_000_000));
    }
}
