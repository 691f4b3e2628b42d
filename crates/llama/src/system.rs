//! What llama.cpp was compiled with.
#![allow(unsafe_code)]

use std::ffi::CStr;

/// The CPU features that llama.cpp's kernels were compiled for, in its own words, for example
/// `CPU : SSE3 = 1 | AVX2 = 1 | ...`.
pub fn system_info() -> String {
    // SAFETY: the call has no preconditions and returns a string that lives as long as the
    // process (a static buffer that every call fills with the same text).
    let text = unsafe { CStr::from_ptr(llama_cpp_sys_2::llama_print_system_info()) };
    text.to_string_lossy().into_owned()
}
