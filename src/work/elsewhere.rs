//! What takes long to drop, such as a large folder, is dropped on a thread that may block.

use std::ops::{Deref, DerefMut};

use tokio::runtime::Handle;

/// A value whose end may block: where it is dropped within an async runtime, it ends on another thread, with all that bounds it.
#[derive(Debug)]
pub struct EndsElsewhere<T: Send + 'static>(Option<T>);

impl<T: Send + 'static> EndsElsewhere<T> {
    /// `value`, whose end may block.
    pub fn new(value: T) -> Self {
        Self(Some(value))
    }

    /// The value, for whoever may block.
    pub fn into_inner(mut self) -> T {
        self.0.take().expect("it is there until it ends")
    }
}

impl<T: Send + 'static> Deref for EndsElsewhere<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("it is there until it ends")
    }
}

impl<T: Send + 'static> DerefMut for EndsElsewhere<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect("it is there until it ends")
    }
}

impl<T: Send + 'static> Drop for EndsElsewhere<T> {
    fn drop(&mut self) {
        let Some(value) = self.0.take() else { return };
        if let Ok(runtime) = Handle::try_current() {
            // A runtime that shuts down drops it at once.
            runtime.spawn_blocking(move || drop(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread};

    use super::*;

    /// Says on which thread it ended.
    struct Tells(mpsc::Sender<thread::ThreadId>);

    impl Drop for Tells {
        fn drop(&mut self) {
            self.0.send(thread::current().id()).ok();
        }
    }

    #[test]
    fn it_ends_elsewhere_only_where_this_thread_must_not_block() {
        let (tells, told) = mpsc::channel();
        let value = || EndsElsewhere::new(Tells(tells.clone()));
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("it is made");
        runtime.block_on(async { drop(value()) });
        assert_ne!(told.recv(), Ok(thread::current().id()));
        drop(value());
        assert_eq!(told.recv(), Ok(thread::current().id()));
        runtime.block_on(async { drop(value().into_inner()) });
        assert_eq!(told.recv(), Ok(thread::current().id()), "whoever takes it out may block");
    }
}
