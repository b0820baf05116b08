//! From machine code in a sealed file to a component: mapped, not copied.
//!
//! wasmtime maps a file that it opens by name, and takes the initial memory of instances from the same
//! file. Then nothing is read but what is used. Of a compiled interpreter (32 MB, 8 of them its
//! initial memory) that is a tenth.

use crate::memory_file::Code;
use wasmtime::Engine;
use wasmtime::component::Component;

/// The component whose code this is.
///
/// # Safety
///
/// The code is what this platform compiled for this very engine.
#[expect(unsafe_code, reason = "wasmtime trusts machine code like a shared library")]
pub(crate) unsafe fn component(engine: &Engine, code: &Code) -> wasmtime::Result<Component> {
    // SAFETY: as this function's; nobody can change the file, which is sealed.
    #[cfg(target_os = "linux")]
    if let Ok(component) = unsafe { Component::deserialize_file(engine, name(code)) } {
        return Ok(component);
    }
    // Where it cannot be opened it is copied.
    // SAFETY: as this function's.
    unsafe { Component::deserialize(engine, &code.map()?) }
}

/// The same in a process that can open nothing: it is handed the file ([`crate::offer`]).
///
/// # Safety
///
/// As that of [`component`].
#[expect(unsafe_code, reason = "as above")]
pub(crate) unsafe fn component_in_lock(engine: &Engine, code: Code) -> wasmtime::Result<Component> {
    #[cfg(target_os = "linux")]
    if crate::offer::is_answering() {
        let (name, bytes) = (name(&code), code.map()?);
        let offer = crate::offer::Offer::of(code.file);
        // SAFETY: as this function's; nobody can change the file, which is sealed.
        let mapped = unsafe { Component::deserialize_file(engine, name) };
        drop(offer);
        // SAFETY: as this function's.
        return mapped.or_else(|_| unsafe { Component::deserialize(engine, &bytes) });
    }
    // SAFETY: as this function's.
    unsafe { component(engine, &code) }
}

/// A name for a file that is open and has none.
#[cfg(target_os = "linux")]
fn name(code: &Code) -> String {
    use std::os::fd::AsRawFd;
    format!("/proc/self/fd/{}", code.file.as_raw_fd())
}
