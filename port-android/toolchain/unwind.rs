//! Stands in for the unwinder that the NDK links statically: with panic=abort nothing unwinds, and a backtrace is empty.
#![feature(no_core, lang_items)]
#![no_core]
#![allow(internal_features)]

#[lang = "pointee_sized"]
pub trait PointeeSized {}
#[lang = "meta_sized"]
pub trait MetaSized: PointeeSized {}
#[lang = "sized"]
pub trait Sized: MetaSized {}
#[lang = "copy"]
pub trait Copy {}
impl Copy for i32 {}

/// `_URC_END_OF_STACK`: there is nothing to see.
#[unsafe(no_mangle)]
pub extern "C" fn _Unwind_Backtrace() -> i32 {
    5
}

#[unsafe(no_mangle)]
pub extern "C" fn _Unwind_GetIP() -> isize {
    0
}

/// Of 32-bit ARM: `_UVRSR_NOT_IMPLEMENTED`.
#[unsafe(no_mangle)]
pub extern "C" fn _Unwind_VRS_Get() -> i32 {
    1
}

#[unsafe(no_mangle)]
pub extern "C" fn _Unwind_GetCFA() -> isize {
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn _Unwind_FindEnclosingFunction() -> isize {
    0
}
