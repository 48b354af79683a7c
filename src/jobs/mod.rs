//! Jobs: what is to be done in the background, kept in SQLite so that nothing accepted is ever lost.
//!
//! Owns states, leases, events, what jobs use, and the worker that runs them; the only place that knows SQL, for API keys too.
//! Knows neither what a job computes nor HTTP. `NewJob → Store → Worker → Kind → exactly one terminal state`.

mod control;
mod damage;
mod error;
mod event;
mod files;
mod handle;
mod job;
mod keys;
mod kind;
mod state;
mod store;
mod time;
mod transient;
mod worker;

pub use control::{Control, Stop};
pub use error::Error;
pub use event::{Event, Mark, StoredEvent, WrittenEvent};
pub use files::{Attachment, Files, Receiving};
pub use handle::{Changes, Jobs, Removal, Reservation};
pub use job::{Claim, Details, Failure, Job, LeaseReport, LeaseStatus, NewJob, Progress, Spec, Summary, Written};
pub use keys::{Keys, KeysError};
pub use kind::{AnyKind, Document, Kind, Kinds, PlanError, Planned, Resource, Task, document};
pub use state::{State, Transition};
pub use store::{Admission, Ahead, HistoryPage, Lease, Listing, Report, Standing, Store, Stretch, UnreadableKey};
pub use time::{Clock, Time, Timestamp, system_clock};
pub use transient::is_transient;
pub use worker::{Ended, Worker};

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
