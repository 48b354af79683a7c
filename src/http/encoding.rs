//! `Content-Encoding` of request bodies: gzip and deflate are decoded before a handler sees the body, others are refused.
//!
//! Knows no bounds: what it gives is metered as any other body is, so that a bomb stops at the bound that its route has.
//! Brotli and zstd are refused: their windows (16 and 128 MiB) would be memory per request that nothing counts.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_compression::tokio::bufread::{DeflateDecoder, GzipDecoder, ZlibDecoder};
use axum::{
    body::{Body, HttpBody},
    extract::Request,
    http::{HeaderMap, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, stream, stream::BoxStream};
use tokio::io::{AsyncBufReadExt, AsyncReadExt};
use tokio_util::io::StreamReader;

use super::{
    body::{BodyFault, fault_in},
    error::ApiError,
};
use crate::message::excerpt;

/// What [`decode`] takes, as `Accept-Encoding` says it.
pub const ACCEPTED: &str = "gzip, deflate";

/// Decoded bytes that are given at once.
const CHUNK: usize = 64 << 10;

/// Encoded bytes that may come before any decoded ones, and how many may come for each: empty blocks would go on for ever.
const MAX_AHEAD: u64 = 1 << 20;
const MAX_EXPANSION: u64 = 8;

/// Bytes of an encoded body that have arrived, in its request's extensions.
#[derive(Debug, Clone, Default)]
pub struct Arrived(pub Arc<AtomicU64>);

/// Middleware: gives handlers the decoded body, without the headers that describe the encoded one.
pub async fn decode(request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    if body.is_end_stream() {
        return next.run(Request::from_parts(parts, body)).await;
    }
    let body = match Coding::of(&parts.headers) {
        Ok(None) => body,
        Ok(Some(coding)) => {
            parts.headers.remove(header::CONTENT_ENCODING);
            parts.headers.remove(header::CONTENT_LENGTH);
            let arrived = Arrived::default();
            parts.extensions.insert(arrived.clone());
            Body::from_stream(decoded(coding, body, arrived))
        }
        Err(error) => {
            return error.into_response();
        }
    };
    next.run(Request::from_parts(parts, body)).await
}

/// An encoding that is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Gzip,
    /// RFC 9110's zlib, or the bare deflate that some clients send in its name.
    Deflate,
}

impl Coding {
    fn of(headers: &HeaderMap) -> Result<Option<Self>, ApiError> {
        let values: Vec<&str> =
            headers.get_all(header::CONTENT_ENCODING).iter().map(|value| value.to_str().unwrap_or("?")).collect();
        let all = values.join(", ").to_ascii_lowercase();
        let names: Vec<&str> = all.split(',').map(str::trim).filter(|name| !matches!(*name, "" | "identity")).collect();
        match names.as_slice() {
            [] => Ok(None),
            ["gzip" | "x-gzip"] => Ok(Some(Self::Gzip)),
            ["deflate"] => Ok(Some(Self::Deflate)),
            [_] => Err(unsupported(&all, "is not decoded")),
            _ => Err(unsupported(&all, "is more than one encoding")),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }
}

fn unsupported(encoding: &str, why: &str) -> ApiError {
    ApiError::UnsupportedEncoding(format!(
        "`Content-Encoding: {}` {why}; send the body with `gzip` or `deflate`, or as it is",
        excerpt(encoding)
    ))
}

type Encoded = StreamReader<BoxStream<'static, io::Result<Bytes>>, Bytes>;

enum Decoder {
    Gzip(GzipDecoder<Encoded>),
    Zlib(ZlibDecoder<Encoded>),
    Bare(DeflateDecoder<Encoded>),
}

/// A body that is being decoded.
struct Decoding {
    coding: Coding,
    decoder: Decoder,
    buffer: BytesMut,
    given: Arc<AtomicU64>,
}

/// The decoded chunks of `body`, as they come.
fn decoded(coding: Coding, body: Body, arrived: Arrived) -> impl Stream<Item = Result<Bytes, BodyFault>> + Send {
    enum State {
        Unread(Body, Arrived),
        Open(Box<Decoding>),
    }
    stream::try_unfold(State::Unread(body, arrived), move |state| async move {
        let mut decoding = match state {
            State::Unread(body, arrived) => Box::new(Decoding::open(coding, body, arrived).await?),
            State::Open(decoding) => decoding,
        };
        let chunk = decoding.next().await?;
        // A little input may give much: others on this thread have their turn in between.
        tokio::task::yield_now().await;
        Ok(chunk.map(|chunk| (chunk, State::Open(decoding))))
    })
}

impl Decoding {
    async fn open(coding: Coding, body: Body, Arrived(arrived): Arrived) -> Result<Self, BodyFault> {
        let given = Arc::new(AtomicU64::new(0));
        let decoded = Arc::clone(&given);
        let chunks = body.into_data_stream().map(move |chunk| {
            let chunk = chunk.map_err(|error| io::Error::other(fault_in(&error).unwrap_or(BodyFault::Interrupted)))?;
            let bytes = chunk.len() as u64;
            let taken = arrived.fetch_add(bytes, Ordering::Relaxed) + bytes;
            let most = MAX_AHEAD + MAX_EXPANSION * decoded.load(Ordering::Relaxed);
            if taken > most { Err(io::Error::other(coding.fault("decodes to almost nothing"))) } else { Ok(chunk) }
        });
        let mut encoded = StreamReader::new(chunks.boxed());
        let decoder = match coding {
            Coding::Gzip => {
                let mut decoder = GzipDecoder::new(encoded);
                decoder.multiple_members(true);
                Decoder::Gzip(decoder)
            }
            // RFC 1950: the low bits of zlib's first byte are 8, which is no beginning of a deflate stream (RFC 1951).
            Coding::Deflate => match encoded.fill_buf().await.map_err(|error| coding.of_io(&error))?.first() {
                Some(byte) if byte & 0x0f != 8 => Decoder::Bare(DeflateDecoder::new(encoded)),
                _ => Decoder::Zlib(ZlibDecoder::new(encoded)),
            },
        };
        Ok(Self { coding, decoder, buffer: BytesMut::new(), given })
    }

    async fn next(&mut self) -> Result<Option<Bytes>, BodyFault> {
        let (coding, buffer) = (self.coding, &mut self.buffer);
        buffer.reserve(CHUNK);
        let read = match &mut self.decoder {
            Decoder::Gzip(decoder) => decoder.read_buf(buffer).await,
            Decoder::Zlib(decoder) => decoder.read_buf(buffer).await,
            Decoder::Bare(decoder) => decoder.read_buf(buffer).await,
        };
        let read = read.map_err(|error| coding.of_io(&error))?;
        if read > 0 {
            self.given.fetch_add(read as u64, Ordering::Relaxed);
            return Ok(Some(buffer.split().freeze()));
        }
        let encoded = match &mut self.decoder {
            Decoder::Gzip(decoder) => decoder.get_mut(),
            Decoder::Zlib(decoder) => decoder.get_mut(),
            Decoder::Bare(decoder) => decoder.get_mut(),
        };
        let rest = encoded.fill_buf().await.map_err(|error| coding.of_io(&error))?;
        if rest.is_empty() { Ok(None) } else { Err(coding.fault("goes on behind its end")) }
    }
}

impl Coding {
    fn fault(self, how: &'static str) -> BodyFault {
        BodyFault::Undecodable { encoding: self.name(), how }
    }

    /// The fault that `error` carries, or what the decoder means by it.
    fn of_io(self, error: &io::Error) -> BodyFault {
        if let Some(fault) = error.get_ref().and_then(|inner| inner.downcast_ref::<BodyFault>()) {
            return *fault;
        }
        let is_wrong = error.get_ref().is_some_and(|inner| inner.is::<flate2::DecompressError>());
        match error.kind() {
            io::ErrorKind::UnexpectedEof => self.fault("ends early"),
            // Without gzip's trailer, a decoder that lacks input complains of no room to go on.
            io::ErrorKind::Other if self == Self::Deflate && !is_wrong => self.fault("ends early"),
            _ => self.fault("cannot be decoded; send bytes that are not encoded so, such as a zip archive, without that header"),
        }
    }
}

#[cfg(test)]
mod tests;
