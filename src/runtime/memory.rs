//! Memory that ONNX Runtime holds: one bounded arena for all sessions, and giving freed pages back.
//!
//! Knows no session and no graph.

use ort::{
    AsPointer,
    environment::Environment,
    memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType},
};

use super::Error;

/// Registers one CPU arena of at most `max_bytes` that every session of the environment draws from.
///
/// Without it each session keeps an arena of its own at the size of its largest run; cuts run one at a time.
#[expect(unsafe_code, reason = "`ort` has no safe call for CreateAndRegisterAllocator")]
pub(super) fn share_arena(environment: &Environment, max_bytes: usize) -> Result<(), Error> {
    let info = MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Arena, MemoryType::Default)?;
    let api = ort::api();
    let (keys, values) = ([c"max_mem".as_ptr()], [max_bytes]);
    let mut config = std::ptr::null_mut();
    // SAFETY: environment and info are live `ort` objects; keys and values are as many as is said, and outlive the call that
    // reads them; the configuration is made before it is used, copied by its user, and released once.
    unsafe {
        ort::Error::result_from_status((api.CreateArenaCfgV2)(keys.as_ptr(), values.as_ptr(), keys.len(), &raw mut config))?;
        let status = (api.CreateAndRegisterAllocator)(environment.ptr().cast_mut(), info.ptr(), config);
        (api.ReleaseArenaCfg)(config);
        ort::Error::result_from_status(status)?;
    }
    Ok(())
}

/// The node that asked for more than the arena holds, if that is what `message` of ONNX Runtime says.
///
/// It is "a node" where the message names none.
pub(super) fn beyond_arena(message: &str) -> Option<String> {
    if !message.contains(" is smaller than requested bytes of ") {
        return None;
    }
    let named = || {
        let (kind, rest) = message.split_once("while running ")?.1.split_once(" node. Name:'")?;
        Some(format!("{kind} node `{}`", rest.split_once('\'')?.0))
    };
    Some(named().unwrap_or_else(|| "a node".to_owned()))
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

/// Blocks from this size on are the operating system's as soon as they are freed, in bytes.
///
/// glibc raises its own threshold to the largest block that was freed, up to 32 MiB, and then keeps blocks below it: after a burst of
/// large answers hundreds of megabytes.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const RETURNED_FROM: i32 = 1 << 20;

/// Has large blocks returned when they are freed; called once, before there are threads that allocate much.
#[expect(unsafe_code, reason = "mallopt has no safe wrapper")]
pub fn return_large_blocks() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: takes no pointers and is safe to call at any time.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, RETURNED_FROM);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_wants_too_much_is_named() {
        let check = |message: &str, expected: Option<&str>| assert_eq!(beyond_arena(message).as_deref(), expected, "{message}");
        let full = "bfc_arena.cc:360 Available memory of 1073741568 is smaller than requested bytes of 19200000000";
        let ran = format!("Non-zero status code returned while running Resize node. Name:'zoom' Status Message: {full}");
        check(&ran, Some("Resize node `zoom`"));
        check(full, Some("a node"));
        check("Non-zero status code returned while running Tile node. Name:'big' Status Message: bad axes", None);
    }
}
