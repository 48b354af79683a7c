//! Which leases have run out: those that nobody extended for as long as they last, while this process watched.
//!
//! The time of day that a lease names is for people: it may be set forward, when every lease would seem to be over, and back, when none
//! would ever be. Knows no SQL.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::jobs::job::Claim;

/// What this process saw of running jobs' leases.
#[derive(Debug, Default)]
pub(super) struct Watch(Mutex<HashMap<String, Seen>>);

#[derive(Debug)]
struct Seen {
    claim: Claim,
    /// When it was first seen like this.
    since: Duration,
}

impl Watch {
    /// Takes the claims of all running jobs at the time `elapsed`, and gives those that have run out.
    pub(super) fn over(&self, claims: Vec<Claim>, elapsed: Duration) -> Vec<Claim> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *seen);
        for claim in claims {
            let known = before.remove(&claim.owner).filter(|known| known.claim == claim);
            seen.insert(claim.owner.clone(), known.unwrap_or(Seen { claim, since: elapsed }));
        }
        let is_over = |seen: &&Seen| elapsed.saturating_sub(seen.since) > seen.claim.lasts();
        seen.values().filter(is_over).map(|seen| seen.claim.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::Timestamp;

    #[test]
    fn a_lease_is_over_when_it_was_seen_unchanged_for_as_long_as_it_lasts() {
        let watch = Watch::default();
        let claim = |owner: &str, expires| Claim { owner: owner.to_owned(), expires: Timestamp(expires) };
        let seen = |claims: &[Claim], seconds| watch.over(claims.to_vec(), Duration::from_secs(seconds)).len();
        let (short, long) = (claim("process/a/10000", 5), claim("process/b/60000", 5));
        assert_eq!(seen(&[short.clone(), long.clone()], 100), 0, "whatever time of day it names");
        assert_eq!(seen(&[short.clone(), long.clone()], 110), 0);
        assert_eq!(seen(&[claim("process/a/10000", 6), long.clone()], 111), 0, "it was extended");
        assert_eq!(seen(&[claim("process/a/10000", 6), long.clone()], 121), 0);
        assert_eq!(watch.over(vec![claim("process/a/10000", 6), long.clone()], Duration::from_secs(122)).len(), 1);
        assert_eq!(seen(&[short, long], 161), 1, "the other");
        assert_eq!(seen(&[], 500), 0);
    }
}
