//! An answer's body that holds its client's place in flight until it has been sent, or is given up.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use crate::access::Admitted;

/// A body, and the place of the request that it answers.
pub struct Held {
    body: Body,
    _admitted: Admitted,
}

impl Held {
    /// `body`, which holds the place of `admitted`.
    pub fn new(body: Body, admitted: Admitted) -> Self {
        Self { body, _admitted: admitted }
    }
}

impl hyper::body::Body for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
