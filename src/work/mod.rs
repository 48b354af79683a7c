//! Work and what bounds it: shares of memory and places per client, fair queues, lanes of threads, desks where clients take turns.
//!
//! Whoever holds a [`Share`] or a [`Turn`] is the work itself, not the request that asked for it: it is given back when the work is
//! over, whoever still listens. Knows neither what the work is nor how it was asked for.

mod budget;
mod client;
mod desk;
mod elsewhere;
mod fair;
mod lane;
mod memory;
mod priority;

pub use budget::{Budget, Exceeded, Share};
pub use client::Client;
pub use desk::{Desk, Seat};
pub use elsewhere::EndsElsewhere;
pub use fair::{Fair, Origin};
pub use lane::{Full, Lane, Turn};
pub use memory::{Memory, TakenMemory};
pub use priority::{lower_priority, thread_time};
