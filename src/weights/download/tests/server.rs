//! A scripted HTTP server: one reply per connection, the last one repeated.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

/// What a connection gets.
#[derive(Clone)]
pub(super) enum Reply {
    /// The file, from where `Range` says.
    File(File),
    /// A status without a body.
    Status(u16),
    /// Another address.
    Redirect(String),
    /// The connection is closed at once.
    Nothing,
}

/// A file and how it is served.
#[derive(Clone)]
pub(super) struct File {
    pub(super) body: Vec<u8>,
    pub(super) etag: Option<&'static str>,
    /// Whether `Range` is heeded.
    pub(super) ranges: bool,
    /// Whether its length is told.
    pub(super) length: bool,
    /// Bytes of the body after which it stops.
    pub(super) stop: Option<(usize, Stop)>,
}

#[derive(Clone, Copy)]
pub(super) enum Stop {
    /// The connection is closed.
    Close,
    /// The connection stays open, and nothing comes.
    Stall,
}

impl File {
    pub(super) fn new(body: &[u8]) -> Self {
        Self { body: body.to_vec(), etag: Some("\"one\""), ranges: true, length: true, stop: None }
    }
}

pub(super) struct Server {
    pub(super) base: String,
    requests: Arc<Mutex<Vec<Vec<String>>>>,
}

impl Server {
    pub(super) fn start(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let base = format!("http://{}", listener.local_addr().expect("a bound address"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let reply = replies.get(number).or(replies.last()).cloned().unwrap_or(Reply::Nothing);
                let log = Arc::clone(&log);
                std::thread::spawn(move || stream.and_then(|stream| answer(stream, reply, &log)));
            }
        });
        Self { base, requests }
    }

    /// The value of `header` in each request so far.
    pub(super) fn headers(&self, header: &str) -> Vec<Option<String>> {
        let requests = self.requests.lock().expect("no thread panics with the lock");
        requests.iter().map(|lines| value(lines, header)).collect()
    }
}

fn value(lines: &[String], header: &str) -> Option<String> {
    let of = |line: &String| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case(header).then(|| value.trim().to_owned())
    };
    lines.iter().find_map(of)
}

fn answer(mut stream: TcpStream, reply: Reply, log: &Mutex<Vec<Vec<String>>>) -> std::io::Result<()> {
    let reader = BufReader::new(stream.try_clone()?);
    let lines: Vec<String> = reader.lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    log.lock().expect("no thread panics with the lock").push(lines.clone());
    match reply {
        Reply::File(file) => serve(&mut stream, &file, &lines),
        Reply::Status(status) => {
            write!(stream, "HTTP/1.1 {status} Status\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        }
        Reply::Redirect(location) => {
            write!(stream, "HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        }
        Reply::Nothing => Ok(()),
    }
}

fn serve(stream: &mut TcpStream, file: &File, lines: &[String]) -> std::io::Result<()> {
    let total = file.body.len();
    let range = value(lines, "range").filter(|_| file.ranges);
    let current = value(lines, "if-range").is_none_or(|tag| Some(tag.as_str()) == file.etag);
    let start = range.filter(|_| current).and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let mut head = match start {
        Some(start) if start >= total => {
            return write!(
                stream,
                "HTTP/1.1 416 Range\r\nContent-Range: bytes */{total}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
        }
        Some(start) => format!("HTTP/1.1 206 Partial\r\nContent-Range: bytes {start}-{}/{total}\r\n", total - 1),
        None => "HTTP/1.1 200 OK\r\n".to_owned(),
    };
    let body = &file.body[start.unwrap_or(0)..];
    if file.length {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    if let Some(etag) = file.etag {
        head += &format!("ETag: {etag}\r\n");
    }
    stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes())?;
    match file.stop {
        None => stream.write_all(body),
        Some((bytes, stop)) => {
            stream.write_all(&body[..bytes.min(body.len())])?;
            if let Stop::Stall = stop {
                // Until the client hangs up.
                stream.read_to_end(&mut Vec::new())?;
            }
            Ok(())
        }
    }
}
