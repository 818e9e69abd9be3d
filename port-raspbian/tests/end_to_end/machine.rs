//! Whole machines: Debian's own arm kernel (6.1) in full emulation starts `mpt`, which holds a tunnel with this machine's
//! own over two emulated network cards, sealed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use mpt_lab::host::{Host, run};
use mpt_lab::namespace;
use mpt_lab::topology::Side;
use mpt_lab::tunnel::{sealed, write_key};

use crate::arm::{AARCH64, ARMV7, Arm, DIRECTORY, End, NATIVE};

/// Kernel modules in the order they are loaded; those that a kernel has built in are not there as files.
const MODULES: [&str; 7] =
    ["virtio", "virtio_ring", "virtio_mmio", "failover", "net_failover", "virtio_net", "tun"];
/// The program and what it is linked to.
const LIBRARIES: [&str; 5] =
    ["ld-linux-aarch64.so.1", "ld-linux-armhf.so.3", "libc.so.6", "libm.so.6", "libgcc_s.so.1"];
/// What is fetched through the tunnel, in bytes.
const DOWNLOAD: usize = 8 << 20;

const PC: &str = r#"
[tunnel]
address = ["10.0.0.1/24", "fec::1:1/112"]
[[connection]]
name = "pi"
peer = ["10.0.0.2", "fec::1:2"]
liveness = { interval_ms = 200, idle_ms = 200, dead_ms = 2000 } # emulation is slow
[[connection.path]]
name = "ipv4"
local = "172.16.1.10"
remote = "172.16.1.20"
[[connection.path]]
name = "ipv6"
local = "2001:db8:acad:2::10"
remote = "2001:db8:acad:2::20"
"#;

/// With paths as a Pi has them: by interface, whatever its address.
const PI: &str = r#"
[tunnel]
address = ["10.0.0.2/24", "fec::1:2/112"]
[[connection]]
name = "pc"
peer = ["10.0.0.1", "fec::1:1"]
liveness = { interval_ms = 200, idle_ms = 200, dead_ms = 2000 }
[[connection.path]]
name = "ipv4"
device = "eth0"
local = "0.0.0.0"
remote = "172.16.1.10"
[[connection.path]]
name = "ipv6"
device = "eth1"
local = "::"
remote = "2001:db8:acad:2::10"
"#;

/// What the machine does when it starts: `mpt` first, so that its paths wait for their interfaces.
const INIT: &str = "#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc p /proc; mount -t sysfs s /sys; mount -t devtmpfs d /dev
for module in $(cat /modules); do insmod /lib/$module.ko; done
mkdir -p /dev/net; [ -e /dev/net/tun ] || mknod /dev/net/tun c 10 200
ip link set lo up
echo \"KERNEL $(uname -r) $(uname -m)\"
/bin/mpt run -c /etc/mpt.toml &
sleep 2
ip address add 172.16.1.20/24 dev eth0; ip link set eth0 up
echo 0 >/proc/sys/net/ipv6/conf/eth1/accept_dad
ip -6 address add 2001:db8:acad:2::20/64 dev eth1; ip link set eth1 up
httpd -p 80 -h /srv
sleep 5
grep -E 'VmRSS|VmHWM|Threads' /proc/$(pidof mpt)/status
wait
echo \"MPT ENDED $?\"
poweroff -f
";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Where `port-raspbian/kernels` put the kernel and busybox.
fn fetched(arm: &Arm) -> PathBuf {
    repository().join("target/arm-kernels").join(arm.debian)
}

/// The only entry of a directory that begins so.
fn entry(directory: &Path, prefix: &str) -> Result<PathBuf> {
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)) {
            return Ok(path);
        }
    }
    bail!("{} has no {prefix}*", directory.display())
}

/// The file `name` somewhere below a directory.
fn find(directory: &Path, name: &str) -> Result<Option<PathBuf>> {
    let found = run(Command::new("find").arg(directory).args(["-name", name]))?;
    Ok(found.lines().next().map(PathBuf::from))
}

/// The machine's file system, as an archive that the kernel unpacks.
fn root(arm: &Arm, directory: &Path) -> Result<PathBuf> {
    let root = directory.join("root");
    for made in ["bin", "lib", "proc", "sys", "dev", "etc", "run", "srv"] {
        fs::create_dir_all(root.join(made))?;
    }
    let fetched = fetched(arm);
    fs::copy(fetched.join("bin/busybox"), root.join("bin/busybox"))?;
    fs::copy(arm.program(), root.join("bin/mpt"))?;
    for library in LIBRARIES.map(|name| Path::new(arm.libraries).join("lib").join(name)) {
        if library.exists() {
            fs::copy(&library, root.join("lib").join(library.file_name().context("a name")?))?;
        }
    }
    let mut modules = Vec::new();
    for module in MODULES {
        if let Some(file) = find(&fetched.join("lib/modules"), &format!("{module}.ko"))? {
            fs::copy(file, root.join(format!("lib/{module}.ko")))?;
            modules.push(module);
        }
    }
    fs::write(root.join("modules"), modules.join("\n"))?;
    fs::write(root.join("etc/mpt.toml"), sealed(Side::Pc2, PI)?)?;
    write_key(Side::Pc2, &root.join("etc"))?;
    let data: Vec<u8> = (0..=250).cycle().take(DOWNLOAD).collect();
    fs::write(root.join("srv/data"), data)?;
    fs::write(root.join("init"), INIT)?;
    fs::set_permissions(root.join("init"), fs::Permissions::from_mode(0o755))?;
    let archive = directory.join("root.cpio");
    let line = format!("cd {} && find . | cpio -o -H newc --quiet > {}", root.display(), archive.display());
    run(Command::new("sh").args(["-c", &line]))?;
    Ok(archive)
}

/// Starts the machine with its network cards on `eth1` and `eth2` of the host.
fn power_on(pc: &Host, arm: &Arm, archive: &Path, console: &Path) -> Result<mpt_lab::host::Running> {
    let (emulator, processor) = match arm.debian {
        "arm64" => ("qemu-system-aarch64", "cortex-a53"),
        _ => ("qemu-system-arm", "cortex-a15"),
    };
    let mut command = pc.command(emulator);
    command.args([
        "-M",
        "virt",
        "-cpu",
        processor,
        "-m",
        "512",
        "-display",
        "none",
        "-monitor",
        "none",
        "-no-reboot",
    ]);
    command.arg("-serial").arg(format!("file:{}", console.display()));
    command.arg("-kernel").arg(entry(&fetched(arm).join("boot"), "vmlinuz")?);
    command.arg("-initrd").arg(archive).args(["-append", "console=ttyAMA0 quiet panic=-1"]);
    // The machine numbers its cards from the last to the first.
    for (number, device) in ["eth2", "eth1"].into_iter().enumerate() {
        command.args(["-netdev", &format!("tap,id=n{number},ifname={device},script=no,downscript=no")]);
        let address = format!("02:00:00:00:0{}:02", &device[3..]);
        command.args(["-device", &format!("virtio-net-device,netdev=n{number},mac={address}")]);
    }
    pc.spawn(command.stdout(Stdio::null()))
}

fn machine(name: &str, arm: &Arm) {
    let tools = ["qemu-system-arm", "qemu-system-aarch64", "cpio", "curl", "ping"];
    if arm.is_skipped(name, &tools) {
        return;
    }
    if !repository().join("target/arm-kernels/complete").exists() {
        assert!(std::env::var_os("MPT_REQUIRE_ARM").is_none(), "no kernels: run port-raspbian/kernels");
        eprintln!("SKIPPED {name}: no kernels: run port-raspbian/kernels");
        return;
    }
    namespace::test(name, || {
        let directory = Path::new("/run/machine");
        let archive = root(arm, directory)?;
        let pc = Host::create("PC1")?;
        for (device, address) in [("eth1", "172.16.1.10/24"), ("eth2", "2001:db8:acad:2::10/64")] {
            pc.run(&format!("ip tuntap add {device} mode tap"))?;
            let nodad = if address.contains(':') { "nodad" } else { "" };
            pc.run(&format!("ip address add {address} dev {device} {nodad}"))?;
            pc.run(&format!("ip link set {device} up"))?;
        }
        let console = directory.join("console");
        let mut computer = power_on(&pc, arm, &archive, &console)?;
        let said = || fs::read_to_string(&console).unwrap_or_default();
        let checks = || -> Result<()> {
            write_key(Side::Pc1, Path::new(DIRECTORY))?;
            let mut mpt = End::start(&pc, &[NATIVE], &sealed(Side::Pc1, PC)?)?;
            mpt.wait_until_up(2)?;
            eprintln!("{}: sealed by {}", arm.debian, mpt.cipher()?);
            for address in ["10.0.0.2", "fec::1:2"] {
                for size in [0, 1400, 4000] {
                    pc.run(&format!("ping -c 4 -i 0.2 -W 5 -s {size} {address}"))?;
                }
            }
            for url in ["http://10.0.0.2/data", "http://[fec::1:2]/data"] {
                let mut curl = pc.command("curl");
                curl.args([
                    "-sS",
                    "--fail",
                    "--max-time",
                    "180",
                    "-o",
                    "/run/got",
                    "-w",
                    "%{speed_download}",
                    url,
                ]);
                let speed: f64 = run(&mut curl)?.parse()?;
                eprintln!("{}: {url}: {:.1} Mbit/s", arm.debian, speed * 8.0 / 1e6);
                ensure!(
                    fs::read("/run/got")? == fs::read(directory.join("root/srv/data"))?,
                    "{url} is not whole"
                );
            }
            // A cable that ends nowhere, and back.
            pc.run("ip link set eth1 down")?;
            mpt.wait_until_up(1)?;
            pc.run("ping -c 4 -i 0.2 -W 5 10.0.0.2")?;
            pc.run("ip link set eth1 up")?;
            mpt.wait_until_up(2)?;
            ensure!(mpt.running.stop()?.success(), "mpt on the PC did not end cleanly");
            Ok(())
        };
        checks().with_context(|| format!("the machine said:\n{}", said()))?;
        let said = said();
        eprintln!("{said}");
        ensure!(said.contains("KERNEL 6.1"), "not Debian's kernel: {said}");
        ensure!(said.contains("path ipv4 of pc waits"), "the paths waited for their interfaces: {said}");
        computer.stop()?;
        Ok(())
    });
}

#[test]
fn a_64_bit_machine_with_debians_kernel_passes_traffic() {
    machine("machine::a_64_bit_machine_with_debians_kernel_passes_traffic", &AARCH64);
}

#[test]
fn a_32_bit_machine_with_debians_kernel_passes_traffic() {
    machine("machine::a_32_bit_machine_with_debians_kernel_passes_traffic", &ARMV7);
}
