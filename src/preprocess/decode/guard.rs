//! The one guard around every decoder: a panic in one is a bad image, for whoever decodes.
//!
//! Allocations that fail abort and are no panics: each format's file bounds them before it decodes.

use std::{
    cell::RefCell,
    panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook},
    sync::Once,
};

use super::{super::ImageError, Format, broken};

thread_local! {
    /// Inside the guard, what a panic said; `None` outside of it.
    static CAUGHT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// What `work`, a decoder of `format`, gives; a panic in it is logged once, without a backtrace.
pub(super) fn guarded<T>(format: Format, work: impl FnOnce() -> Result<T, ImageError>) -> Result<T, ImageError> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |panic| {
            if !note(panic) {
                usual(panic)
            }
        }));
    });
    CAUGHT.set(Some(String::new()));
    let outcome = catch_unwind(AssertUnwindSafe(work));
    let caught = CAUGHT.take().unwrap_or_default();
    outcome.unwrap_or_else(|_| {
        tracing::warn!(%format, panic = caught, "an image decoder panicked; the image counts as broken");
        Err(broken(format, "its decoder failed"))
    })
}

/// Keeps what `panic` says, if it happens inside the guard.
fn note(panic: &PanicHookInfo<'_>) -> bool {
    CAUGHT.with_borrow_mut(|caught| caught.as_mut().map(|caught| *caught = panic.to_string()).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_broken_image() {
        let error = guarded::<()>(Format::WebP, || panic!("index out of bounds")).expect_err("it panics");
        assert_eq!(error, broken(Format::WebP, "its decoder failed"));
        assert_eq!(guarded(Format::WebP, || Ok(7)), Ok(7), "the thread goes on");
        assert!(CAUGHT.with_borrow(Option::is_none), "a panic elsewhere is the usual hook's");
    }
}
