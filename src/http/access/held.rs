//! An answer's body that holds its client's place in flight until it has been sent, or is given up.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use crate::access::Admitted;

/// Bytes that are handed on at a time: as many may be on their way when the place is given back.
const PIECE: usize = 64 << 10;

/// A body, and the place of the request that it answers.
///
/// The place is given back with the last piece and not after it: whoever has read all of an answer may ask the next at once.
pub struct Held {
    body: Body,
    /// What is left of the body's last frame.
    rest: Bytes,
    admitted: Option<Admitted>,
}

impl Held {
    /// `body`, which holds the place of `admitted`.
    pub fn new(body: Body, admitted: Admitted) -> Self {
        Self { body, rest: Bytes::new(), admitted: Some(admitted) }
    }
}

impl hyper::body::Body for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) if frame.is_data() => self.rest = frame.into_data().unwrap_or_default(),
                last => {
                    self.admitted = None;
                    return Poll::Ready(last);
                }
            }
        }
        let length = self.rest.len().min(PIECE);
        let piece = self.rest.split_to(length);
        if self.is_end_stream() {
            self.admitted = None;
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (left, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        if let Some(upper) = left.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(left.lower() + rest);
        hint
    }
}
