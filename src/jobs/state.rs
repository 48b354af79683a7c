//! The states of a job and the one function that says which follows which.
//!
//! Pure; knows neither the store nor time.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = JobState)]
pub enum State {
    /// Waits for a worker.
    Queued,
    /// A worker has it under a lease.
    Running,
    /// Done; there is a result.
    Succeeded,
    /// Ended with a reason.
    Failed,
    /// Ended because somebody asked for it.
    Cancelled,
}

/// What can happen to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transition {
    /// A worker takes it.
    Claim,
    /// Its worker shuts down and gives it back.
    Release,
    /// Its worker died.
    Requeue,
    /// It reached its result.
    Complete,
    /// It cannot reach its result.
    Fail,
    /// Somebody does not want it any more.
    Cancel,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Queued, Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// The state after `transition`; `None` when that cannot happen to a job in this state.
    ///
    /// The only place that knows; the store writes what this says.
    pub fn after(self, transition: Transition) -> Option<Self> {
        match (self, transition) {
            (Self::Queued, Transition::Claim) => Some(Self::Running),
            (Self::Running, Transition::Release | Transition::Requeue) => Some(Self::Queued),
            (Self::Running, Transition::Complete) => Some(Self::Succeeded),
            (Self::Running, Transition::Fail) => Some(Self::Failed),
            (Self::Queued | Self::Running, Transition::Cancel) => Some(Self::Cancelled),
            (Self::Queued, Transition::Release | Transition::Requeue | Transition::Complete | Transition::Fail)
            | (Self::Running, Transition::Claim)
            | (Self::Succeeded | Self::Failed | Self::Cancelled, _) => None,
        }
    }

    /// Whether it is the last.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// As in the store and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRANSITIONS: [Transition; 6] =
        [Transition::Claim, Transition::Release, Transition::Requeue, Transition::Complete, Transition::Fail, Transition::Cancel];

    proptest! {
        #[test]
        fn whatever_happens_a_job_ends_once(transitions in prop::collection::vec(prop::sample::select(&TRANSITIONS[..]), 0..40)) {
            let mut state = State::Queued;
            let mut ends = 0;
            for transition in transitions {
                let Some(next) = state.after(transition) else { continue };
                prop_assert!(!state.is_terminal(), "{state:?} changed to {next:?}");
                prop_assert!(next != state);
                ends += usize::from(next.is_terminal());
                state = next;
            }
            prop_assert_eq!(ends, usize::from(state.is_terminal()));
        }
    }

    #[test]
    fn every_job_can_end_and_every_state_be_reached() {
        let next = |state: State| TRANSITIONS.into_iter().filter_map(move |transition| state.after(transition));
        for state in State::ALL {
            let reached = state == State::Queued || State::ALL.into_iter().flat_map(next).any(|next| next == state);
            assert!(reached, "{state:?}");
            assert_eq!(state.is_terminal(), next(state).count() == 0, "{state:?}");
            assert!(state.is_terminal() || state.after(Transition::Cancel) == Some(State::Cancelled), "{state:?}");
            assert_eq!(State::from_name(state.name()), Some(state));
        }
    }
}
