//! Bodies within bounds: bytes per request, bytes in memory over all requests and answers; and what answers are made of.
//!
//! Knows bytes alone; what they hold is [`super::images`]'s, how fast they come [`super::pace`]'s.

use std::{
    error::Error,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::{Body, HttpBody},
    http::{HeaderMap, header},
};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, TryStreamExt};
use hyper::body::{Frame, SizeHint};

use super::error::ApiError;
use crate::{inference::Admission, work::Exceeded};

/// Why a body stopped; travels through multipart readers as an error's source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    /// More than the request may have.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// The bound in bytes.
        limit: usize,
    },
    /// More than all requests together may have, or those of one client.
    #[error("too many bytes of requests and answers are in memory")]
    Busy {
        /// Whether it is the client's share that is used up.
        of_client: bool,
    },
    /// The connection failed.
    #[error("the body ended early")]
    Interrupted,
    /// Headers of a form's part without an end.
    #[error("a part of the form has more than {limit} bytes of headers")]
    PartTooLong {
        /// The bound in bytes.
        limit: u64,
    },
    /// Not a byte arrived for too long.
    #[error("no byte of the body arrived for {ms} ms")]
    Silent {
        /// The bound in milliseconds.
        ms: u128,
        /// Where it is configured.
        setting: &'static str,
    },
    /// Bytes arrived, and too few.
    #[error("the body arrives more slowly than {bytes_per_second} bytes per second")]
    TooSlow {
        /// The bound.
        bytes_per_second: u64,
    },
    /// It is not what its `Content-Encoding` says.
    #[error("the body's `{encoding}` {how}")]
    Undecodable {
        /// The encoding.
        encoding: &'static str,
        /// What is wrong with it.
        how: &'static str,
    },
}

impl From<Exceeded> for BodyFault {
    fn from(exceeded: Exceeded) -> Self {
        Self::Busy { of_client: exceeded == Exceeded::Client }
    }
}

impl From<BodyFault> for ApiError {
    fn from(fault: BodyFault) -> Self {
        match fault {
            BodyFault::TooLarge { limit } => Self::BodyTooLarge { limit },
            BodyFault::Busy { of_client } => Self::Busy { of_client },
            BodyFault::Interrupted => Self::BodyInterrupted,
            BodyFault::PartTooLong { .. } => Self::MalformedBody(format!("cannot read the form: {fault}")),
            BodyFault::Silent { ms, setting } => Self::BodySilent { ms, setting },
            BodyFault::TooSlow { bytes_per_second } => Self::BodyTooSlow { bytes_per_second },
            BodyFault::Undecodable { encoding, how } => {
                Self::MalformedBody(format!("the body's `Content-Encoding: {encoding}` {how}"))
            }
        }
    }
}

impl From<Exceeded> for ApiError {
    fn from(exceeded: Exceeded) -> Self {
        BodyFault::from(exceeded).into()
    }
}

/// The fault among `error`'s sources, if a bound was the cause.
pub fn fault_in(error: &(dyn Error + 'static)) -> Option<BodyFault> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(fault) = error.downcast_ref::<BodyFault>() {
            return Some(*fault);
        }
        cause = error.source();
    }
    None
}

/// The body's length as its sender declares it.
pub fn declared_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Refuses before a byte is read a declared length over `limit`, and one for which there is no memory now.
///
/// Memory is reserved as bytes arrive: who declares much and sends little must not hold it.
///
/// # Errors
/// [`BodyFault::TooLarge`] or [`BodyFault::Busy`].
pub fn admit(headers: &HeaderMap, limit: usize, admission: &Admission) -> Result<(), BodyFault> {
    let declared = declared_length(headers).unwrap_or(0);
    if declared > limit {
        return Err(BodyFault::TooLarge { limit });
    }
    Ok(admission.check(declared)?)
}

/// `chunks`, counted against `limit` and the memory as they arrive.
pub fn metered<S>(
    chunks: S,
    limit: usize,
    admission: Admission,
) -> impl Stream<Item = Result<Bytes, BodyFault>> + Send + Unpin + use<S>
where
    S: Stream<Item = Result<Bytes, BodyFault>> + Send + Unpin,
{
    let mut received = 0usize;
    chunks.map(move |chunk| {
        let chunk = chunk?;
        received = received.saturating_add(chunk.len());
        if received > limit {
            return Err(BodyFault::TooLarge { limit });
        }
        admission.take(chunk.len())?;
        Ok(chunk)
    })
}

/// All chunks as one; a single chunk is not copied.
///
/// # Errors
/// The stream's first.
pub async fn collect<S>(mut chunks: S, declared: Option<usize>) -> Result<Bytes, BodyFault>
where
    S: Stream<Item = Result<Bytes, BodyFault>> + Unpin,
{
    let Some(first) = chunks.try_next().await? else { return Ok(Bytes::new()) };
    let Some(second) = chunks.try_next().await? else { return Ok(first) };
    let mut all = BytesMut::from(first);
    let mut next = Some(second);
    while let Some(chunk) = next {
        // Twice what is there, as a vector grows, but not beyond what is to come.
        let missing = declared.unwrap_or(usize::MAX).saturating_sub(all.len());
        all.reserve(all.len().min(missing).max(chunk.len()));
        all.extend_from_slice(&chunk);
        next = chunks.try_next().await?;
    }
    Ok(all.freeze())
}

/// `bytes` as an answer's body, until the last of which has been sent what is `held` for it is kept: its memory, its client's place.
pub fn outgoing<H: Send + 'static>(bytes: Vec<u8>, held: H) -> Body {
    struct Holding<H> {
        bytes: Vec<u8>,
        _held: H,
    }
    impl<H> AsRef<[u8]> for Holding<H> {
        fn as_ref(&self) -> &[u8] {
            &self.bytes
        }
    }
    Body::from(Bytes::from_owner(Holding { bytes, _held: held }))
}

/// A body of `length` bytes, which `chunks` give: whoever sends it knows when all of it is there.
pub fn streamed(chunks: impl Stream<Item = io::Result<Bytes>> + Send + 'static, length: u64) -> Body {
    Body::new(Streamed { body: Body::from_stream(chunks), left: length })
}

struct Streamed {
    body: Body,
    left: u64,
}

impl HttpBody for Streamed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.left = self.left.saturating_sub(frame.data_ref().map_or(0, |data| data.len() as u64));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{http::testing, work::Client};

    fn body(chunks: &[&'static str]) -> impl Stream<Item = Result<Bytes, BodyFault>> + Send + Unpin {
        let chunks: Vec<Result<Bytes, BodyFault>> = chunks.iter().map(|text| Ok(Bytes::from_static(text.as_bytes()))).collect();
        futures_util::stream::iter(chunks)
    }

    async fn check(chunks: &[&'static str], limit: usize, bound: usize, expected: Result<&'static str, BodyFault>) {
        let admissions = testing::admissions(bound);
        let admission = admissions.admit(&Client::local(), None);
        let got = collect(metered(body(chunks), limit, admission.clone()), None).await;
        assert_eq!(got, expected.map(Bytes::from), "{chunks:?} of at most {limit}");
        drop(admission);
        assert_eq!(admissions.memory().used(), 0, "what was reserved is given back");
    }

    #[tokio::test]
    async fn bodies_are_bounded_while_they_arrive() {
        check(&[], 4, 100, Ok("")).await;
        check(&["abcd"], 4, 100, Ok("abcd")).await;
        check(&["ab", "c", "d"], 4, 100, Ok("abcd")).await;
        check(&["ab", "cde"], 4, 100, Err(BodyFault::TooLarge { limit: 4 })).await;
        check(&["ab", "cde"], 100, 4, Err(BodyFault::Busy { of_client: false })).await;
    }

    #[tokio::test]
    async fn a_body_of_known_length_ends_with_its_last_byte() {
        let chunks = futures_util::stream::iter(["ab", "c"].map(|text| Ok(Bytes::from_static(text.as_bytes()))));
        let mut body = streamed(chunks, 3);
        assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(3), false));
        let mut read = Vec::new();
        while !body.is_end_stream() {
            let frame = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
            read.extend(frame.expect("there is more").expect("it arrives").into_data().expect("bytes"));
        }
        assert_eq!((read.as_slice(), body.size_hint().exact()), (b"abc".as_slice(), Some(0)));
    }

    #[test]
    fn an_answer_holds_its_memory_until_it_is_sent() {
        let admissions = testing::admissions(10);
        let admission = admissions.admit(&Client::local(), None);
        admission.take(6).expect("the budget is free");
        let body = outgoing(vec![0; 6], admission);
        assert_eq!(admissions.memory().used(), 6);
        drop(body);
        assert_eq!(admissions.memory().used(), 0);
    }

    #[test]
    fn a_declared_length_is_refused_before_reading() {
        let admission = testing::admissions(8).admit(&Client::local(), None);
        for (declared, expected) in [
            (None, Ok(())),
            (Some("8"), Ok(())),
            (Some("9"), Err(BodyFault::Busy { of_client: false })),
            (Some("11"), Err(BodyFault::TooLarge { limit: 10 })),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(length) = declared {
                headers.insert(header::CONTENT_LENGTH, length.parse().expect("valid"));
            }
            assert_eq!(admit(&headers, 10, &admission), expected, "{declared:?}");
        }
    }
}
