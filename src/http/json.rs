//! JSON within bounds: small bodies, for routes that take settings and not images, and answers of any kind.
//!
//! Knows nothing of what the JSON means.

use std::io::{self, Write};

use axum::{
    Extension,
    body::Body,
    http::{HeaderMap, header, request::Parts},
    response::{IntoResponse, IntoResponseParts, Response},
};
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    body::{self, BodyFault},
    error::ApiError,
    intake::Intake,
};
use crate::{
    inference::Admission,
    message::{excerpt, serde_message},
    work::Seat,
};

/// No recipe comes near.
const MAX_BYTES: usize = 1 << 20;

/// Memory that an answer takes at a time while it is written.
const CHUNK: usize = 64 << 10;

/// Lists and objects in a body, and values: a byte or two of text become a hundred times as much in memory.
const MAX_CONTAINERS: usize = 4096;
const MAX_VALUES: usize = 200_000;

/// Memory that a list or an object takes, and a value.
const CONTAINER_BYTES: usize = 400;
const VALUE_BYTES: usize = 100;

/// Larger bodies are read away from the async threads.
const SMALL: usize = 16 << 10;

/// A JSON body, and the admission that holds its memory.
#[derive(Debug)]
pub struct Received {
    /// The bytes.
    pub bytes: Bytes,
    /// That of its request: whoever goes on with what the body holds goes on with this.
    pub admission: Admission,
}

impl Received {
    /// The JSON `body` of the request with `parts`.
    ///
    /// # Errors
    /// Another type, more than 1 MiB, a body that does not arrive.
    pub async fn from(intake: &Intake, parts: &Parts, body: Body) -> Result<Self, ApiError> {
        let headers = &parts.headers;
        check_type(headers)?;
        let limit = MAX_BYTES.min(intake.max_body_bytes);
        let admission = intake.admit(&parts.extensions);
        let reading = async {
            body::admit(headers, limit, &admission)?;
            let chunks = body::metered(intake.chunks(body), limit, admission.clone());
            body::collect(chunks, body::declared_length(headers)).await
        };
        match reading.await {
            Ok(bytes) => Ok(Self { bytes, admission }),
            Err(BodyFault::TooLarge { limit }) => Err(ApiError::JsonTooLarge { limit }),
            Err(other) => Err(other.into()),
        }
    }

    /// What `read` makes of the bytes, away from the async threads if they are many; memory for their parts is taken before.
    ///
    /// # Errors
    /// Those of `read`; [`ApiError::Busy`].
    pub async fn read<T: Send + 'static>(
        self,
        intake: &Intake,
        read: impl FnOnce(&[u8]) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<(T, Admission), ApiError> {
        let Self { bytes, admission } = self;
        let (held, origin, is_small) = (admission.clone(), admission.origin(), bytes.len() <= SMALL);
        let work = move || {
            held.take(parts_of(&bytes)?)?;
            read(&bytes)
        };
        let read = if is_small { work() } else { intake.encoding.run(origin, work).await.expect("any number may wait") };
        Ok((read?, admission))
    }
}

/// `bytes` as what the route takes.
///
/// # Errors
/// [`ApiError::MalformedBody`].
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(text(bytes)?)
        .map_err(|error| ApiError::MalformedBody(format!("cannot read the JSON body: {}", serde_message(&error))))
}

/// The same, of an object: a list would be taken for its fields in their order.
///
/// # Errors
/// As [`parse`].
pub fn object<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    match text(bytes)?.trim_ascii_start() {
        [b'[', ..] => Err(ApiError::MalformedBody("the JSON body is a list; send an object with names".to_owned())),
        _ => parse(bytes),
    }
}

/// The text of a JSON body, without the mark that some systems begin UTF-8 with.
///
/// # Errors
/// UTF-16, which RFC 8259 rules out and some shells write.
pub fn text(bytes: &[u8]) -> Result<&[u8], ApiError> {
    match bytes {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [b'{', 0, ..] | [0, b'{', ..] => {
            Err(ApiError::MalformedBody("the JSON body is UTF-16; send it as UTF-8".to_owned()))
        }
        _ => {
            parts_of(bytes)?;
            Ok(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes))
        }
    }
}

/// The answer 200 with what `make` makes, made and written away from the async threads, within the memory of all answers.
///
/// # Errors
/// [`ApiError::ResponseTooLarge`], [`ApiError::Busy`].
pub async fn answer<T: Serialize + 'static>(
    intake: &Intake,
    admission: Admission,
    make: impl FnOnce() -> T + Send + 'static,
) -> Result<Response, ApiError> {
    let (limit, held) = (intake.max_response_bytes, admission.clone());
    let work = move || written(&make(), limit, &held);
    let bytes = intake.encoding.run(admission.origin(), work).await.expect("any number may wait")?;
    Ok(sent(bytes, admission))
}

/// The same of what has been done, which is told even where no memory is left: whoever does it holds a place that few have.
///
/// # Errors
/// [`ApiError::Internal`].
pub async fn done<T: Serialize + 'static>(
    intake: &Intake,
    admission: Admission,
    make: impl FnOnce() -> T + Send + 'static,
) -> Result<Response, ApiError> {
    let held = admission.clone();
    let work = move || {
        let bytes = serde_json::to_vec(&make()).map_err(ApiError::internal)?;
        // It counts where it can.
        held.take(bytes.len()).ok();
        Ok::<_, ApiError>(bytes)
    };
    let bytes = intake.encoding.run(admission.origin(), work).await.expect("any number may wait")?;
    Ok(sent(bytes, admission))
}

/// The answer of [`answer`] with what `make` finds in a store, at the seat of whoever asks; it takes memory for what it reads.
///
/// # Errors
/// As [`answer`]; those of `make`.
pub async fn answer_at<T: Serialize + 'static>(
    seat: Seat,
    intake: &Intake,
    admission: Admission,
    make: impl FnOnce(&Admission) -> Result<T, ApiError> + Send + 'static,
) -> Result<Response, ApiError> {
    answer_with(seat, intake, admission, |admission| Ok(((), make(admission)?))).await
}

/// The same with headers, which `make` finds, too.
///
/// # Errors
/// As [`answer_at`].
pub async fn answer_with<H: IntoResponseParts + Send + 'static, T: Serialize + 'static>(
    seat: Seat,
    intake: &Intake,
    admission: Admission,
    make: impl FnOnce(&Admission) -> Result<(H, T), ApiError> + Send + 'static,
) -> Result<Response, ApiError> {
    let (limit, held) = (intake.max_response_bytes, admission.clone());
    let work = move || {
        let (headers, value) = make(&held)?;
        Ok::<_, ApiError>((headers, written(&value, limit, &held)?))
    };
    let (headers, bytes) = seat.run(work).await?;
    Ok((headers, sent(bytes, admission)).into_response())
}

fn sent(bytes: Vec<u8>, admission: Admission) -> Response {
    let media_type = [(header::CONTENT_TYPE, "application/json")];
    let length = bytes.len();
    (media_type, Extension(admission.clone()), body::outgoing(bytes, admission.into_memory(length))).into_response()
}

/// `value` as JSON of at most `limit` bytes, for which memory is taken as it grows.
///
/// # Errors
/// As [`answer`].
pub fn written(value: &impl Serialize, limit: usize, admission: &Admission) -> Result<Vec<u8>, ApiError> {
    written_within(value, limit, 0, admission)
}

/// The same where memory has been `taken` already.
///
/// # Errors
/// As [`answer`].
pub fn written_within(value: &impl Serialize, limit: usize, taken: usize, admission: &Admission) -> Result<Vec<u8>, ApiError> {
    let mut writer = Metered { bytes: Vec::new(), taken: taken.min(limit), limit, admission };
    let Err(error) = serde_json::to_writer(&mut writer, value) else { return Ok(writer.bytes) };
    let error = io::Error::from(error);
    match error.get_ref().and_then(|fault| fault.downcast_ref::<BodyFault>()).copied() {
        Some(BodyFault::TooLarge { limit }) => Err(ApiError::ResponseTooLarge(format!(
            "the answer has more than {limit} bytes (`server.max_response_bytes`); ask for less of it"
        ))),
        Some(fault) => Err(fault.into()),
        None => Err(ApiError::internal(error)),
    }
}

/// JSON that is being written.
struct Metered<'a> {
    bytes: Vec<u8>,
    taken: usize,
    limit: usize,
    admission: &'a Admission,
}

impl Write for Metered<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let needed = self.bytes.len() + bytes.len();
        if needed > self.limit {
            return Err(io::Error::other(BodyFault::TooLarge { limit: self.limit }));
        }
        if needed > self.taken {
            let more = (needed - self.taken).max(CHUNK.min(self.limit - self.taken));
            self.admission.take(more).map_err(|exceeded| io::Error::other(BodyFault::from(exceeded)))?;
            self.taken += more;
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Memory in bytes that the parts of `text` will take; refuses what would have too many, before any of them is made.
fn parts_of(text: &[u8]) -> Result<usize, ApiError> {
    let (mut containers, mut values, mut quoted, mut escaped) = (0, 0, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => containers += 1,
            b',' if !quoted => values += 1,
            _ => {}
        }
    }
    let too_many = |what: &str, limit| Err(ApiError::MalformedBody(format!("the JSON body has more than {limit} {what}")));
    if containers > MAX_CONTAINERS {
        return too_many("lists and objects", MAX_CONTAINERS);
    }
    if values > MAX_VALUES { too_many("values", MAX_VALUES) } else { Ok(containers * CONTAINER_BYTES + values * VALUE_BYTES) }
}

fn check_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let found = match media_type {
        "" => "the body has no `Content-Type`".to_owned(),
        other => format!("the body is `{}`", excerpt(other)),
    };
    Err(ApiError::UnsupportedMediaType(format!("{found}; send `application/json`")))
}

#[cfg(test)]
mod tests;
