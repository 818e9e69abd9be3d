//! A control group whose sockets leave through one interface: the kernel ties each as it is made, by three instructions of BPF.
//!
//! All of it goes with the group, and the group goes when it is removed: also if mpt was killed, no socket of others is touched.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use crate::output;

/// What names of groups begin with; the tunnel's name and a number follow.
const NAME: &str = "mpt-portal";
/// How often, and how long apart, it is tried to remove a group.
const LOOKS: u32 = 50;
/// See [`LOOKS`].
const LOOK: Duration = Duration::from_millis(20);
/// Processes of a group, as a file in it.
const PROCESSES: &str = "cgroup.procs";

/// The kernel's hierarchy of control groups, wherever the host has mounted it.
struct Root(OwnedFd);

impl Root {
    fn open() -> Result<Self> {
        let mount = || {
            let system = fsopen("cgroup2", FsOpenFlags::FSOPEN_CLOEXEC)?;
            fsconfig_create(&system)?;
            fsmount(&system, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
        };
        let root = mount().context("this kernel or container has no control groups (cgroup2) for mpt")?;
        Ok(Self(root))
    }

    /// Where it is for this process.
    fn path(&self) -> PathBuf {
        Path::new("/proc/self/fd").join(self.0.as_raw_fd().to_string())
    }
}

/// See the module.
pub(super) struct Group {
    path: PathBuf,
    /// The group that this process was of.
    home: PathBuf,
    /// The paths lead through it.
    _root: Root,
}

impl Group {
    /// A group for the link with this number, whose sockets get this mark. This process, which is to start others, is of it until
    /// [`leave`](Self::leave).
    pub(super) fn enter(tunnel: &str, interface: u32, mark: u32) -> Result<Self> {
        clean(tunnel);
        let root = Root::open()?;
        let home = fs::read_to_string("/proc/self/cgroup").context("cannot find the own control group")?;
        let home = home.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
        let home = root.path().join(home);
        let path = root.path().join(format!("{}{}", prefix(tunnel), std::process::id()));
        fs::create_dir(&path).context("cannot make a control group")?;
        let group = Self { path, home, _root: root };
        // One without processes is removed by who cleans.
        let entered = fs::write(group.path.join(PROCESSES), "0").context("cannot enter the control group");
        let tied = entered.and_then(|()| group.tie(interface, mark));
        match tied {
            Ok(()) => Ok(group),
            Err(error) => {
                group.leave();
                group.remove();
                Err(error)
            }
        }
    }

    fn tie(&self, interface: u32, mark: u32) -> Result<()> {
        let tie = || {
            let program = load(interface, mark)?;
            let directory = rustix::fs::open(&self.path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
            attach(directory.as_fd(), program.as_fd())
        };
        tie().context(
            "the kernel does not tie sockets of a control group: it needs CONFIG_CGROUP_BPF, and the rights of root outside of containers",
        )
    }

    /// This process goes back to where it was; those that it has started stay.
    pub(super) fn leave(&self) {
        if let Err(error) = fs::write(self.home.join(PROCESSES), "0") {
            output::complain(&format!("mpt: cannot leave the control group: {error}\n"));
        }
    }

    /// Removes it, unless a process of it has stayed behind: then the next run, or `mpt clean`, does.
    pub(super) fn remove(self) {
        for _ in 0..LOOKS {
            match fs::remove_dir(&self.path) {
                // The kernel counts a process that has ended a moment longer.
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => thread::sleep(LOOK),
                Err(error) => return output::complain(&format!("mpt: the control group stays: {error}\n")),
                Ok(()) => return,
            }
        }
        output::complain("mpt: what the program has started goes on over that link alone\n");
    }
}

/// How groups of a tunnel are called.
fn prefix(tunnel: &str) -> String {
    format!("{NAME}-{tunnel}-")
}

/// Removes groups that an `mpt portal` of this tunnel has left that was killed. Returns what it has removed.
pub(crate) fn clean(tunnel: &str) -> Vec<String> {
    let Ok(root) = Root::open() else { return Vec::new() };
    let entries = fs::read_dir(root.path()).into_iter().flatten().flatten();
    let of_tunnel = entries.filter(|entry| {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(&prefix(tunnel)));
        number.is_some_and(|number| number.parse::<u32>().is_ok())
    });
    // One with processes cannot be removed, and is in use.
    let removed = of_tunnel.filter(|entry| fs::remove_dir(entry.path()).is_ok());
    removed.map(|entry| format!("control group {}", entry.file_name().display())).collect()
}

/// An instruction of BPF.
#[repr(C)]
#[derive(Clone, Copy)]
struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    value: i32,
}

impl Instruction {
    /// Registers are numbered from 0 to 10.
    const fn new(code: u8, (to, from): (u8, u8), offset: i16, value: i32) -> Self {
        let registers = if cfg!(target_endian = "big") { to << 4 | from } else { from << 4 | to };
        Self { code, registers, offset, value }
    }
}

/// What bpf(2) is given to load a program: `union bpf_attr` of linux/bpf.h, as far as it matters.
#[repr(C)]
#[derive(Default)]
struct Load {
    program_type: u32,
    count: u32,
    instructions: u64,
    licence: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    attach_type: u32,
}

/// What bpf(2) is given to attach one.
#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    attach_type: u32,
    flags: u32,
}

// Of linux/bpf.h.
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_TYPE_CGROUP_SOCK: u32 = 9;
const BPF_CGROUP_INET_SOCK_CREATE: u32 = 2;
/// Beside programs of others, as of systemd.
const BPF_F_ALLOW_MULTI: u32 = 2;
/// `struct bpf_sock`: where the number of the interface and the mark are.
const BOUND_DEV_IF: i16 = 0;
const SOCKET_MARK: i16 = 16;

/// Loads the program that ties a socket.
fn load(interface: u32, mark: u32) -> io::Result<OwnedFd> {
    let (context, value, result) = (1, 2, 0);
    /// An immediate value into a register.
    const MOVE: u8 = 0xb7;
    /// 32 bits of a register into memory.
    const STORE: u8 = 0x63;
    const EXIT: u8 = 0x95;
    let instructions = [
        Instruction::new(MOVE, (value, 0), 0, interface.cast_signed()),
        Instruction::new(STORE, (context, value), BOUND_DEV_IF, 0),
        Instruction::new(MOVE, (value, 0), 0, mark.cast_signed()),
        Instruction::new(STORE, (context, value), SOCKET_MARK, 0),
        // The socket may be.
        Instruction::new(MOVE, (result, 0), 0, 1),
        Instruction::new(EXIT, (0, 0), 0, 0),
    ];
    let licence = CString::from(c"Dual MIT/GPL");
    let request = Load {
        program_type: BPF_PROG_TYPE_CGROUP_SOCK,
        count: u32::try_from(instructions.len()).unwrap_or(0),
        instructions: instructions.as_ptr().expose_provenance() as u64,
        licence: licence.as_ptr().expose_provenance() as u64,
        attach_type: BPF_CGROUP_INET_SOCK_CREATE,
        ..Load::default()
    };
    // SAFETY: the kernel reads the request, whose size is given, and the instructions and the text that it names; all live until the call
    // returns.
    #[allow(unsafe_code, reason = "no crate here offers this system call")]
    let descriptor =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const request, size_of::<Load>()) };
    let descriptor = i32::try_from(descriptor).unwrap_or(-1);
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made it for this program, which has it nowhere else.
    #[allow(unsafe_code, reason = "a number that a system call returned becomes a descriptor")]
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn attach(group: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let request = Attach {
        target: group.as_raw_fd().cast_unsigned(),
        program: program.as_raw_fd().cast_unsigned(),
        attach_type: BPF_CGROUP_INET_SOCK_CREATE,
        flags: BPF_F_ALLOW_MULTI,
    };
    // SAFETY: the kernel reads the request, whose size is given.
    #[allow(unsafe_code, reason = "no crate here offers this system call")]
    let outcome =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_ATTACH, &raw const request, size_of::<Attach>()) };
    if outcome < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
