//! What lets work in: a share of the memory for requests and answers, and a time in which to answer.
//!
//! The same for every transport: whoever reads a request asks for an [`Admission`] first, and hands it on with the images.

use std::{any::Any, sync::Arc, time::Duration};

use crate::{
    config::ServerConfig,
    work::{Budget, Client, Exceeded, Origin, Share},
};

/// Bounds on all requests together.
#[derive(Debug, Clone)]
pub struct Admissions {
    memory: Budget,
    time: Option<Duration>,
}

/// What a request holds for as long as any part of its work goes on, its answer included; cheap to clone.
#[derive(Debug, Clone)]
pub struct Admission {
    memory: Arc<Share>,
    time: Option<Duration>,
    _with: Option<Arc<dyn Any + Send + Sync>>,
}

impl Admissions {
    /// The bounds that `server` configures.
    pub fn new(server: &ServerConfig) -> Self {
        let bound = server.max_buffered_bytes as u64;
        let one = server.request_bytes().min(bound);
        Self { memory: Budget::shared(bound, server.max_client_percent, one), time: Some(server.request_timeout) }
    }

    /// Lets a request of `client` begin, with no memory yet; `with` is given back with it.
    pub fn admit(&self, client: &Client, with: Option<Arc<dyn Any + Send + Sync>>) -> Admission {
        Admission { memory: Arc::new(self.memory.share(client)), time: self.time, _with: with }
    }

    /// Memory of all requests and answers.
    pub fn memory(&self) -> &Budget {
        &self.memory
    }
}

impl Admission {
    /// That of the process itself: without bounds.
    pub fn local() -> Self {
        let memory = Budget::new(u64::MAX).share(&Client::local());
        Self { memory: Arc::new(memory), time: None, _with: None }
    }

    /// Whose turn its work takes.
    pub fn origin(&self) -> Origin {
        Origin { client: self.client().clone(), request: Arc::as_ptr(&self.memory).addr() as u64 }
    }

    /// Takes `bytes` more of the memory.
    ///
    /// # Errors
    /// The bound that they do not fit in.
    pub fn take(&self, bytes: usize) -> Result<(), Exceeded> {
        self.memory.add(bytes as u64)
    }

    /// Whether it could have `bytes` more now.
    ///
    /// # Errors
    /// The bound that they do not fit in.
    pub fn check(&self, bytes: usize) -> Result<(), Exceeded> {
        self.memory.check(bytes as u64)
    }

    /// Its share of the memory.
    pub fn memory(&self) -> &Share {
        &self.memory
    }

    /// Its memory for an answer of `bytes`, which is all that is left of the request: the rest is given back, and what was given with it
    /// once its work is over.
    pub fn into_memory(self, bytes: usize) -> Arc<Share> {
        self.memory.lower_to(bytes as u64);
        self.memory
    }

    /// Whose it is.
    pub fn client(&self) -> &Client {
        self.memory.client()
    }

    /// Time from the whole request to its answer.
    pub fn time(&self) -> Option<Duration> {
        self.time
    }
}
