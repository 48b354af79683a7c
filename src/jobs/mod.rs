//! Jobs: what is to be done in the background, kept in SQLite so that nothing accepted is ever lost.
//!
//! Owns states, leases, events and the worker that drives a [`Runner`]; the only place that knows SQL.
//! Knows neither what a job computes nor HTTP. `NewJob → Store → Worker → Runner → exactly one terminal state`.

mod error;
mod event;
mod handle;
mod job;
mod plan;
mod runner;
mod state;
mod store;
mod time;
mod worker;

pub use error::Error;
pub use event::{Event, Mark, StoredEvent};
pub use handle::{Changes, Jobs};
pub use job::{Base, Claim, Failure, Job, LeaseState, LeaseStatus, NewJob, Progress};
pub use plan::{Plan, PlanError, Planner, Problem};
pub use runner::{Control, Runner, Stop};
pub use state::{Change, State};
pub use store::{Admission, Lease, Listing, Report, Reservation, Standing, Store};
pub use time::{Clock, Timestamp, system_clock};
pub use worker::{Ended, Worker};

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
