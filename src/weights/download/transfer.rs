//! One HTTP request for what is still missing of a file.

use std::io::{self, Read};

use ureq::{
    Agent, Body,
    http::{HeaderMap, Response, header},
};

use super::{Download, Options, Progress, error::Error, part::Part};

/// How one request ended without an error that counts.
pub(super) enum Outcome {
    /// The server says that nothing is missing any more.
    Complete,
    /// It is worth trying again.
    Failed(Failure),
}

/// Why a request should be made again.
pub(super) enum Failure {
    /// The connection could not be made, or not be kept.
    Connection(ureq::Error),
    /// The body broke off.
    Cut(io::Error),
    /// A status that may pass.
    Status(u16),
}

/// A file's requests, and what the server said of it.
pub(super) struct Transfer<'a> {
    pub(super) download: &'a Download,
    agent: Agent,
    /// ETag or Last-Modified of the bytes that this call has received.
    validator: Option<String>,
}

impl<'a> Transfer<'a> {
    pub(super) fn new(download: &'a Download, options: &Options) -> Self {
        let agent = Agent::config_builder()
            .timeout_connect(Some(options.connect_timeout))
            .timeout_per_read(Some(options.read_timeout))
            .timeout_recv_response(Some(options.read_timeout))
            .max_redirects(options.max_redirects)
            .http_status_as_error(false)
            .accept_encoding("identity")
            .user_agent(concat!("graft/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Self { download, agent, validator: None }
    }

    /// Asks for what `part` lacks and appends it.
    ///
    /// # Errors
    /// What trying again does not mend.
    pub(super) fn run(&mut self, part: &mut Part, progress: &mut dyn Progress) -> Result<Outcome, Error> {
        let mut request = self.agent.get(&self.download.url);
        if part.length() > 0 {
            request = request.header(header::RANGE, format!("bytes={}-", part.length()));
            if let Some(validator) = &self.validator {
                request = request.header(header::IF_RANGE, validator);
            }
        }
        let response = match request.call() {
            Ok(response) => response,
            Err(error) => return Ok(Outcome::Failed(Failure::Connection(error))),
        };
        let total = match self.total(&response, part)? {
            Answer::Body(total) => total,
            Answer::Outcome(outcome) => return Ok(outcome),
        };
        if total.is_some_and(|total| total > self.download.max_bytes) {
            return Err(self.too_large());
        }
        self.validator = validator(response.headers());
        self.receive(response.into_body(), total, part, progress)
    }

    /// What the status and headers say; empties `part` where the body begins at the file's begin.
    fn total(&self, response: &Response<Body>, part: &mut Part) -> Result<Answer, Error> {
        let headers = response.headers();
        match response.status().as_u16() {
            200 => {
                part.restart()?;
                Ok(Answer::Body(number(headers, header::CONTENT_LENGTH)))
            }
            206 => match content_range(headers) {
                Some((start, total)) if start == Some(part.length()) => Ok(Answer::Body(total)),
                _ => {
                    part.restart()?;
                    Ok(Answer::Outcome(Outcome::Failed(Failure::Status(206))))
                }
            },
            // Nothing lies behind the part's end: either it is all, or it is no part of this file.
            416 => {
                if content_range(headers).is_some_and(|(_, total)| total == Some(part.length())) {
                    return Ok(Answer::Outcome(Outcome::Complete));
                }
                part.restart()?;
                Ok(Answer::Outcome(Outcome::Failed(Failure::Status(416))))
            }
            404 | 410 => {
                Err(Error::NotFound { url: self.download.url.clone(), architecture: self.download.architecture.clone() })
            }
            status @ (408 | 425 | 429 | 500..=599) => Ok(Answer::Outcome(Outcome::Failed(Failure::Status(status)))),
            status => Err(self.status(status)),
        }
    }

    fn receive(&self, body: Body, total: Option<u64>, part: &mut Part, progress: &mut dyn Progress) -> Result<Outcome, Error> {
        let mut reader = body.into_reader();
        let mut buffer = vec![0; 1 << 16];
        progress.update(part.length(), total);
        loop {
            let read = match reader.read(&mut buffer) {
                Ok(0) if total.is_some_and(|total| part.length() < total) => {
                    return Ok(Outcome::Failed(Failure::Cut(io::ErrorKind::UnexpectedEof.into())));
                }
                Ok(0) => return Ok(Outcome::Complete),
                Ok(read) => read,
                Err(error) => return Ok(Outcome::Failed(Failure::Cut(error))),
            };
            if part.length() + read as u64 > self.download.max_bytes {
                return Err(self.too_large());
            }
            part.append(&buffer[..read])?;
            progress.update(part.length(), total);
        }
    }

    pub(super) fn status(&self, status: u16) -> Error {
        Error::Status { url: self.download.url.clone(), status, architecture: self.download.architecture.clone() }
    }

    fn too_large(&self) -> Error {
        Error::TooLarge { url: self.download.url.clone(), max_bytes: self.download.max_bytes }
    }
}

enum Answer {
    /// A body follows, which ends at this length of the file, where known.
    Body(Option<u64>),
    Outcome(Outcome),
}

/// What `If-Range` takes: a strong ETag, else a date.
fn validator(headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let strong = text(header::ETAG).filter(|tag| !tag.starts_with("W/"));
    strong.or_else(|| text(header::LAST_MODIFIED)).map(str::to_owned)
}

fn number(headers: &HeaderMap, name: header::HeaderName) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// First byte and total length of `bytes 5-9/10` or `bytes */10`.
fn content_range(headers: &HeaderMap) -> Option<(Option<u64>, Option<u64>)> {
    let text = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let start = range.split_once('-').and_then(|(start, _)| start.trim().parse().ok());
    Some((start, total.trim().parse().ok()))
}
