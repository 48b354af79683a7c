//! ONNX Runtime's telemetry, off: since 1.29 its official libraries keep a device id on disk and send events.
//!
//! The environment's own switch comes too late: by the time there is an environment to switch, the id is written and a
//! first event with facts about the machine is stored for sending. A variable is the only full opt-out.

/// Read by the library when the environment is made, and never again.
const VARIABLE: &str = "ORT_DISABLE_TELEMETRY";

/// Forbids telemetry for the life of this process, whatever the variable was; only before the environment is made.
#[expect(unsafe_code, reason = "the library takes this from a variable alone")]
pub(super) fn forbid_telemetry() {
    // SAFETY: what races with a change of the environment is C code that reads it on another thread. The caller runs once,
    // before the library is loaded; until then the process has Rust threads only, whose readers share the standard
    // library's lock with this call.
    unsafe { std::env::set_var(VARIABLE, "1") };
}
