//! Keys that are not in force, by the address that they come from: whoever tries many is told to wait.
//!
//! What is bounded is how many get 401, the others get 429 and when to try again; not the work, nor the chance of a guess, which
//! is none. A key that is in force lets in whatever others behind the same address have tried, so each is hashed and compared first.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{
    error::Refused,
    limits::{Full, Limits, Usage},
};
use crate::work::Client;

/// How often an address may be wrong: once a second, and this often at once.
const LIMITS: Limits = Limits { images_per_second: Some(1), burst: Some(20), in_flight: None };

/// Addresses that are remembered at most.
const MOST: usize = 4096;

/// What was tried lately, by whom; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Guesses {
    /// A plain mutex: held for sums only.
    by_client: Arc<Mutex<HashMap<Client, Usage>>>,
}

impl Guesses {
    /// Counts what `client` was `refused` for at `now`, if it is a key that is none, and says what to answer.
    pub fn count(&self, client: &Client, refused: Refused, now: Instant) -> Refused {
        if !matches!(refused, Refused::Unknown | Refused::Malformed(_)) {
            return refused;
        }
        let mut by_client = self.by_client.lock().unwrap_or_else(PoisonError::into_inner);
        if !by_client.contains_key(client) && by_client.len() >= MOST {
            forget(&mut by_client, now);
        }
        match by_client.entry(client.clone()).or_default().take(&LIMITS, 1, now) {
            Ok(()) => refused,
            Err(Full::For(wait)) => Refused::Guesses { wait },
            Err(Full::Always { .. }) => Refused::Guesses { wait: Duration::from_secs(1) },
        }
    }
}

/// Makes room: forgets those that may be wrong as often as ever, else the one that may soonest be.
fn forget(by_client: &mut HashMap<Client, Usage>, now: Instant) {
    let reset = |usage: &Usage| usage.room(&LIMITS, now).map_or(0, |room| room.reset);
    by_client.retain(|_, usage| reset(usage) > 0);
    if by_client.len() >= MOST {
        let soonest = by_client.iter().min_by_key(|(_, usage)| reset(usage)).map(|(client, _)| client.clone());
        soonest.and_then(|client| by_client.remove(&client));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u32) -> Client {
        Client::address(std::net::Ipv4Addr::from(number).into())
    }

    #[test]
    fn whoever_tries_many_keys_has_to_wait() {
        let (guesses, start) = (Guesses::default(), Instant::now());
        let tried = |number, now| guesses.count(&client(number), Refused::Unknown, now);
        for _ in 0..20 {
            assert_eq!(tried(1, start), Refused::Unknown);
        }
        assert_eq!(tried(1, start), Refused::Guesses { wait: Duration::from_secs(1) });
        assert_eq!(tried(2, start), Refused::Unknown, "another address");
        assert_eq!(guesses.count(&client(1), Refused::Missing, start), Refused::Missing, "no guess");
        assert_eq!(tried(1, start + Duration::from_secs(1)), Refused::Unknown);
        assert!(matches!(tried(1, start + Duration::from_secs(1)), Refused::Guesses { .. }));
    }

    #[test]
    fn few_addresses_are_remembered_and_the_worst_of_them_longest() {
        let (guesses, start) = (Guesses::default(), Instant::now());
        let tried = |number, now| guesses.count(&client(number), Refused::Unknown, now);
        let most = u32::try_from(MOST).expect("it is small");
        (0..30).for_each(|_| drop(tried(0, start)));
        (1..2 * most).for_each(|number| drop(tried(number, start)));
        let remembered = || guesses.by_client.lock().expect("not poisoned").len();
        assert_eq!(remembered(), MOST);
        assert!(matches!(tried(0, start), Refused::Guesses { .. }), "it is not forgotten for others");
        let later = start + Duration::from_secs(60);
        tried(3 * most, later);
        assert_eq!(remembered(), 1, "all others may try again");
    }
}
