//! Randomness: the board has no generator, and its emulator's host has one behind a file. A product reads its own: who can guess what
//! is drawn here, or whose generator gives the same after each start, gets tunnels that can be opened.

use cortex_m_semihosting::syscall;

/// How the debugger opens a file: for reading, as bytes.
const READ_BINARY: usize = 1;

/// Fills `bytes` from the host's generator, and stops the firmware if there is none.
pub fn fill(bytes: &mut [u8]) {
    const FILE: &[u8] = b"/dev/urandom\0";
    // SAFETY: the host reads the name, which ends with a zero and has this length without it, and keeps nothing of it.
    let file = unsafe { syscall!(OPEN, FILE.as_ptr(), READ_BINARY, FILE.len() - 1) };
    // SAFETY: the host writes to these bytes, which are ours, before the call returns.
    let missing = unsafe { syscall!(READ, file, bytes.as_mut_ptr(), bytes.len()) };
    // SAFETY: the host opened it above, or says again that there is no such file.
    unsafe { syscall!(CLOSE, file) };
    defmt::assert_eq!(missing, 0, "the host has no random numbers");
}

/// A random number.
pub fn seed() -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_le_bytes(bytes)
}
