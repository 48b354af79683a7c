//! Lists that are made while they are written: one entry at a time is in memory, however many there are.

use std::{fmt, ops::Range};

use serde::{Serialize, Serializer};

/// A list of an answer, entry by entry.
pub struct Each<T> {
    positions: Range<usize>,
    make: Box<dyn Fn(usize) -> T>,
}

impl<T> Each<T> {
    /// What `make` gives for each of `positions`.
    pub fn new(positions: Range<usize>, make: impl Fn(usize) -> T + 'static) -> Self {
        Self { positions, make: Box::new(make) }
    }
}

impl<T: Serialize> Serialize for Each<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.positions.clone().map(&self.make))
    }
}

impl<T> fmt::Debug for Each<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Each").field(&self.positions).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn one_entry_is_in_memory_at_a_time() {
        let entry = Arc::new(0);
        let made = Arc::clone(&entry);
        let list = Each::new(2..5, move |position| {
            assert_eq!(Arc::strong_count(&made), 2, "the one before {position} is gone");
            Entry(position, Arc::clone(&made))
        });
        assert_eq!(serde_json::to_string(&list).expect("numbers are JSON"), "[2,3,4]");
        assert_eq!(Arc::strong_count(&entry), 2);
    }

    struct Entry(usize, #[expect(dead_code, reason = "it is counted")] Arc<i32>);

    impl Serialize for Entry {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            self.0.serialize(serializer)
        }
    }
}
