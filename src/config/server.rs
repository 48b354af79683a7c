//! `[server]`: where graft listens and what one request may cost.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use super::{
    error::ConfigError,
    key::{Key, Kind, Values, integer, milliseconds, of},
};

/// `[server]`: where graft listens and what one request may cost.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Address to bind; default `127.0.0.1`; `GRAFT__SERVER__HOST`.
    pub host: IpAddr,
    /// Port to bind, 0 for any free one; default 8080; `GRAFT__SERVER__PORT`.
    pub port: u16,
    /// Certificate and key for HTTPS; default none, which serves HTTP.
    pub tls: Option<TlsFiles>,
    /// Names that the server is known by, beside those of the loopback and the address that was reached; default none, which lets any
    /// name pass on other addresses than the loopback; `GRAFT__SERVER__HOSTS`.
    pub hosts: Vec<String>,
    /// Origins whose pages may use the server, or `*` alone for all; default none; `GRAFT__SERVER__CORS_ORIGINS`.
    pub cors_origins: Vec<String>,
    /// Whether others than this machine may be answered while no API key exists; default false; `GRAFT__SERVER__ALLOW_ANONYMOUS`.
    pub allow_anonymous: bool,
    /// Largest request body in bytes; default 64 MiB; `GRAFT__SERVER__MAX_BODY_BYTES`.
    pub max_body_bytes: usize,
    /// Most images in one request; default 64; `GRAFT__SERVER__MAX_IMAGES`.
    pub max_images: usize,
    /// Most pixels of all images of one request together; default 400 million; `GRAFT__SERVER__MAX_REQUEST_PIXELS`.
    pub max_request_pixels: u64,
    /// Bytes of requests and answers in memory at once, over all requests; default 512 MiB; `GRAFT__SERVER__MAX_BUFFERED_BYTES`.
    pub max_buffered_bytes: usize,
    /// Connections that may be open at once, as far as the process's open files go; default 1024; `GRAFT__SERVER__MAX_CONNECTIONS`.
    pub max_connections: usize,
    /// Most that one client, an address or a key, may have of what all share, in percent: memory, connections, places in queues,
    /// uploads, event streams; but always what one request may need; default 50; `GRAFT__SERVER__MAX_CLIENT_PERCENT`.
    pub max_client_percent: u8,
    /// Largest answer in bytes, before compression; default 64 MiB; `GRAFT__SERVER__MAX_RESPONSE_BYTES`.
    pub max_response_bytes: usize,
    /// Time for a request's header, from its first byte on; default 30 s; `GRAFT__SERVER__HEADER_TIMEOUT_MS`.
    pub header_timeout: Duration,
    /// Time that a connection may stay open without a request; default 75 s; `GRAFT__SERVER__KEEP_ALIVE_TIMEOUT_MS`.
    pub keep_alive_timeout: Duration,
    /// Longest time in which a client takes no byte of its answer; default 30 s; `GRAFT__SERVER__WRITE_TIMEOUT_MS`.
    pub write_timeout: Duration,
    /// Longest silence within a body; default 30 s; `GRAFT__SERVER__BODY_IDLE_TIMEOUT_MS`.
    pub body_idle_timeout: Duration,
    /// Slowest rate of a body or an answer in bytes per second, over stretches as long as those; default 8192; `GRAFT__SERVER__MIN_BODY_BYTES_PER_SECOND`.
    pub min_body_bytes_per_second: u64,
    /// Time for a whole request, from its body's end to its answer; default 60 s; `GRAFT__SERVER__REQUEST_TIMEOUT_MS`.
    pub request_timeout: Duration,
    /// Time that open requests get at shutdown; default 30 s; `GRAFT__SERVER__SHUTDOWN_GRACE_MS`.
    pub shutdown_grace: Duration,
    /// Whether requests need a key; default `auto`; `GRAFT__SERVER__AUTH`.
    pub auth: Auth,
    /// Whether `/metrics` needs a key where requests do; default true; `GRAFT__SERVER__METRICS_NEED_KEY`.
    pub metrics_need_key: bool,
}

/// Whether requests need a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// From the moment on at which the first key is made, and ever after, whatever becomes of it.
    Auto,
    /// Always: without a key nobody is let in.
    Required,
    /// Never: something in front of graft decides who is let in.
    Off,
}

/// PEM files that a server proves its identity with; both or neither are given, and read again when they change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and those between it and its root behind it; `GRAFT__SERVER__TLS_CERTIFICATE`.
    pub certificate: PathBuf,
    /// Its private key, not encrypted; `GRAFT__SERVER__TLS_KEY`.
    pub key: PathBuf,
}

pub(super) const KEYS: &[Key] = &[
    of("server.host", Kind::Text),
    integer("server.port", 0, 65_535),
    of("server.tls_certificate", Kind::Text),
    of("server.tls_key", Kind::Text),
    of("server.hosts", Kind::List),
    of("server.cors_origins", Kind::List),
    of("server.allow_anonymous", Kind::Boolean),
    integer("server.max_body_bytes", 1 << 10, 1 << 34),
    integer("server.max_images", 1, 4096),
    integer("server.max_request_pixels", 1, 1 << 40),
    integer("server.max_buffered_bytes", 1 << 10, 1 << 40),
    integer("server.max_connections", 1, 1 << 20),
    integer("server.max_client_percent", 1, 100),
    integer("server.max_response_bytes", 1 << 10, 1 << 34),
    milliseconds("server.header_timeout_ms", 100),
    milliseconds("server.keep_alive_timeout_ms", 100),
    milliseconds("server.write_timeout_ms", 100),
    milliseconds("server.body_idle_timeout_ms", 100),
    integer("server.min_body_bytes_per_second", 1, 1 << 30),
    milliseconds("server.request_timeout_ms", 100),
    milliseconds("server.shutdown_grace_ms", 0),
    of("server.auth", Kind::Choice(&["auto", "required", "off"])),
    of("server.metrics_need_key", Kind::Boolean),
];

impl ServerConfig {
    /// What one request and its answer may take: body, values and bytes.
    pub fn request_bytes(&self) -> u64 {
        self.max_body_bytes as u64 + 3 * self.max_response_bytes as u64
    }

    /// Whether only this machine reaches the address.
    pub fn is_loopback(&self) -> bool {
        self.host.to_canonical().is_loopback()
    }

    pub(super) fn from_values(values: &Values) -> Result<Self, ConfigError> {
        let why = "a request of that size could never be queued";
        values.at_most("server.max_images", "runtime.queue_images", why)?;
        values.at_most("images.max_pixels", "server.max_request_pixels", "no request could hold such an image")?;
        check_memory(values)?;
        let host = values.text("server.host").parse();
        Ok(Self {
            host: host.map_err(|_| values.invalid("server.host", "an IP address such as 127.0.0.1, 0.0.0.0 or ::1"))?,
            port: u16::try_from(values.integer("server.port")).expect("the key's range is that of u16"),
            tls: tls_files(values)?,
            hosts: hosts(values)?,
            cors_origins: cors_origins(values)?,
            allow_anonymous: values.boolean("server.allow_anonymous"),
            max_body_bytes: values.size("server.max_body_bytes"),
            max_images: values.size("server.max_images"),
            max_request_pixels: values.integer("server.max_request_pixels"),
            max_buffered_bytes: values.size("server.max_buffered_bytes"),
            max_connections: values.size("server.max_connections"),
            max_client_percent: u8::try_from(values.integer("server.max_client_percent")).expect("a percentage fits"),
            max_response_bytes: values.size("server.max_response_bytes"),
            header_timeout: values.duration("server.header_timeout_ms"),
            keep_alive_timeout: values.duration("server.keep_alive_timeout_ms"),
            write_timeout: values.duration("server.write_timeout_ms"),
            body_idle_timeout: values.duration("server.body_idle_timeout_ms"),
            min_body_bytes_per_second: values.integer("server.min_body_bytes_per_second"),
            request_timeout: values.duration("server.request_timeout_ms"),
            shutdown_grace: values.duration("server.shutdown_grace_ms"),
            auth: match values.text("server.auth") {
                "off" => Auth::Off,
                "required" => Auth::Required,
                _ => Auth::Auto,
            },
            metrics_need_key: values.boolean("server.metrics_need_key"),
        })
    }
}

fn tls_files(values: &Values) -> Result<Option<TlsFiles>, ConfigError> {
    let (certificate, key) = ("server.tls_certificate", "server.tls_key");
    match (values.optional_text(certificate), values.optional_text(key)) {
        (Some(certificate), Some(key)) => Ok(Some(TlsFiles { certificate: certificate.into(), key: key.into() })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(values.invalid(certificate, format!("given together with `{key}`"))),
        (None, Some(_)) => Err(values.invalid(key, format!("given together with `{certificate}`"))),
    }
}

fn hosts(values: &Values) -> Result<Vec<String>, ConfigError> {
    let names = values.optional_list("server.hosts").unwrap_or_default();
    if !names.iter().all(|name| is_host(name)) {
        return Err(values.invalid("server.hosts", "a list of names or addresses without ports, such as graft.example"));
    }
    Ok(names)
}

fn cors_origins(values: &Values) -> Result<Vec<String>, ConfigError> {
    let origins = values.optional_list("server.cors_origins").unwrap_or_default();
    let is_origin = |origin: &String| {
        let Some((scheme, authority)) = origin.split_once("://") else { return false };
        let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, port)) => (address, port.strip_prefix(':')),
            None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
        };
        let is_scheme = !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        is_scheme && is_host(host) && port.is_none_or(|port| port.parse::<u16>().is_ok())
    };
    if origins == ["*"] || origins.iter().all(is_origin) {
        return Ok(origins);
    }
    let rule = "a list of origins without paths, such as https://app.example or http://localhost:3000, or `*` alone";
    Err(values.invalid("server.cors_origins", rule))
}

fn is_host(name: &str) -> bool {
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    name.parse::<IpAddr>().is_ok() || !name.is_empty() && is_name(name)
}

/// Any one request must fit: its body, and its answer as values and as bytes ([`ServerConfig::max_buffered_bytes`]).
fn check_memory(values: &Values) -> Result<(), ConfigError> {
    let key = "server.max_buffered_bytes";
    let needed = values.integer("server.max_body_bytes") + 3 * values.integer("server.max_response_bytes");
    if needed <= values.integer(key) {
        return Ok(());
    }
    let rule = format!("at least {needed}, `server.max_body_bytes` and three times `server.max_response_bytes`");
    Err(values.invalid(key, rule))
}
