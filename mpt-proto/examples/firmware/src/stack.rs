//! How deep the stack ever was: it is painted at the start, and the paint that is left is counted at the end.

use cortex_m::register::msp;

const PAINT: u32 = 0xa5a5_a5a5;
/// What the painting itself may use.
const MARGIN: u32 = 256;

unsafe extern "C" {
    /// The linker's: the end of static memory, which the stack grows towards.
    static __sheap: u32;
    /// The linker's: where the stack begins.
    static _stack_start: u32;
}

fn bottom() -> *mut u32 {
    (&raw const __sheap).cast_mut()
}

/// Paints what is free.
pub fn paint() {
    let mut place = bottom();
    while (place.addr() as u32) < msp::read() - MARGIN {
        // SAFETY: between the end of static memory and the stack pointer nothing lives; there is no heap.
        unsafe {
            place.write_volatile(PAINT);
            place = place.add(1);
        }
    }
}

/// Most bytes that were ever in use since.
pub fn high_water() -> usize {
    let top = (&raw const _stack_start).addr();
    let mut place = bottom().cast_const();
    // SAFETY: all of it is memory, up to the stack's beginning.
    while place.addr() < top && unsafe { place.read_volatile() } == PAINT {
        // SAFETY: as above.
        place = unsafe { place.add(1) };
    }
    top - place.addr()
}
