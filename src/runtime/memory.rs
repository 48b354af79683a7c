//! Memory that ONNX Runtime holds: one arena for all sessions, and giving freed pages back.

use ort::{
    AsPointer,
    environment::Environment,
    memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType},
};

use super::Error;

/// Registers one CPU arena that every session of the environment draws from.
///
/// Without it each session keeps an arena of its own at the size of its largest run; cuts run one at a time.
#[expect(unsafe_code, reason = "`ort` has no safe call for CreateAndRegisterAllocator")]
pub(super) fn share_arena(environment: &Environment) -> Result<(), Error> {
    let info = MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Arena, MemoryType::Default)?;
    let api = ort::api();
    // SAFETY: both pointers come from live `ort` objects; a null arena configuration means ONNX Runtime's defaults.
    unsafe {
        let status = (api.CreateAndRegisterAllocator)(environment.ptr().cast_mut(), info.ptr(), std::ptr::null());
        ort::Error::result_from_status(status)?;
    }
    Ok(())
}

/// Gives memory that dropped sessions freed back to the operating system.
///
/// glibc keeps freed blocks below its (growing) mmap threshold; convolution weights are of that size.
#[expect(unsafe_code, reason = "malloc_trim has no safe wrapper")]
pub fn trim() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: takes no pointers and is safe to call from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}
