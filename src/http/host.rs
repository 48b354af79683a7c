//! Whether a request is meant for this server: over TLS where that is configured, and by a name that the server is known by.
//!
//! A page elsewhere can point a name of its own at the loopback (DNS rebinding), and its browser then takes this server for the
//! page's; only `Host` shows it. Knows no route, and not who asks.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use axum::{
    extract::{Request, State},
    http::{HeaderValue, Uri, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use super::{
    error::ApiError,
    stream::{Connection, Transport},
};
use crate::config::ServerConfig;

/// The names that the server is known by; cheap to clone.
#[derive(Debug, Clone)]
pub struct Hosts(Option<Arc<[String]>>);

impl Hosts {
    /// The loopback's and those of `server.hosts`; any name, where neither the address nor that setting says more.
    pub fn new(server: &ServerConfig) -> Self {
        let checked = server.is_loopback() || !server.hosts.is_empty();
        Self(checked.then(|| server.hosts.iter().map(|name| plain(name)).collect()))
    }

    /// That the server is known by the host that a request names.
    fn check(&self, uri: &Uri, named: &[&HeaderValue], local: Option<IpAddr>) -> Result<(), ApiError> {
        if named.len() > 1 {
            return Err(ApiError::InvalidHost("is named twice"));
        }
        let Self(Some(own)) = self else { return Ok(()) };
        // A proxy's form of a request names it in its first line, too.
        let authority = uri.authority().map(|authority| authority.as_str().as_bytes());
        let Some(header) = named.first() else { return Err(ApiError::InvalidHost("is not named")) };
        for named in authority.into_iter().chain([header.as_bytes()]) {
            let Some(host) = host(named) else { return Err(ApiError::InvalidHost("is neither a name nor an address")) };
            let is_known = match host.trim_matches(['[', ']']).parse().map(|ip: IpAddr| ip.to_canonical()) {
                Ok(ip) if ip.is_loopback() || Some(ip) == local => true,
                Ok(_) | Err(_) => host == "localhost" || own.contains(&host),
            };
            if !is_known {
                return Err(ApiError::UnknownHost { host });
            }
        }
        Ok(())
    }
}

/// Middleware: refuses what is not meant for this server.
pub async fn meant_for_us(State(hosts): State<Hosts>, request: Request, next: Next) -> Response {
    let connection = request.extensions().get::<Connection>().copied();
    if connection.is_some_and(|connection| connection.transport == Transport::Unsecured) {
        let mut response = ApiError::TlsRequired.into_response();
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        return response;
    }
    let named: Vec<&HeaderValue> = request.headers().get_all(header::HOST).iter().collect();
    // Whoever asks for the very address that answers, as probes do, has not been led here by a name.
    let local = connection.and_then(|connection| connection.local);
    match hosts.check(request.uri(), &named, local) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

/// The host of `name`, `name:80` or `[::1]:80`, as [`plain`] has it.
fn host(authority: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(authority).ok()?;
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, behind) = rest.split_once(']')?;
            address.parse::<Ipv6Addr>().ok()?;
            (address, behind)
        }
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let is_port = port.is_empty() || port[1..].bytes().all(|byte| byte.is_ascii_digit()) && port.starts_with(':');
    let is_name = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte));
    (is_port && is_name).then(|| plain(host))
}

/// A name in lower case, without the dot of the root.
fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing;

    fn hosts(address: &str, names: &[&str]) -> Hosts {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Hosts::new(&ServerConfig { host: address.parse().expect("an address"), hosts: names, ..testing::server() })
    }

    #[test]
    fn the_loopback_is_known_by_its_names_and_those_configured() {
        let check = |hosts: &Hosts, named: &[&str], expected: Option<&str>| {
            let values: Vec<HeaderValue> =
                named.iter().map(|name| HeaderValue::from_bytes(name.as_bytes()).expect("valid")).collect();
            let local = Some([10, 1, 2, 3].into());
            let result = hosts.check(&Uri::from_static("/predict"), &values.iter().collect::<Vec<_>>(), local);
            let error = result.err().map(|error| error.to_string());
            assert_eq!(error.is_some(), expected.is_some(), "{named:?}: {error:?}");
            assert!(error.unwrap_or_default().contains(expected.unwrap_or_default()), "{named:?}");
        };
        let loopback = hosts("127.0.0.1", &["Graft.Example", "10.9.9.9"]);
        for known in
            ["localhost", "LOCALHOST:8080", "localhost.", "127.0.0.1", "127.4.5.6:1", "[::1]", "[::1]:80", "[::ffff:127.0.0.1]"]
        {
            check(&loopback, &[known], None);
        }
        // The address that answered, and the names configured.
        for known in ["10.1.2.3:8080", "graft.example", "GRAFT.example.:443", "10.9.9.9", "localhost:"] {
            check(&loopback, &[known], None);
        }
        for foreign in
            ["evil.example", "evil.example:8080", "localhost.evil.example", "xlocalhost", "10.1.2.4", "[::2]", "0.0.0.0"]
        {
            check(&loopback, &[foreign], Some("add that name or address to `server.hosts`"));
        }
        for bad in
            ["", ":80", "localhost:80:80", "localhost:x", "user@localhost", "localhost/", "[::1", "[::1]x", "[localhost]", "é"]
        {
            check(&loopback, &[bad], Some("neither a name nor an address"));
        }
        check(&loopback, &[], Some("is not named"));
        check(&loopback, &["localhost", "localhost"], Some("is named twice"));
        // Elsewhere any name will do, unless names are configured.
        let open = hosts("0.0.0.0", &[]);
        check(&open, &["evil.example"], None);
        check(&open, &[], None);
        check(&open, &["a", "b"], Some("is named twice"));
        let named = hosts("0.0.0.0", &["graft.example"]);
        for (host, expected) in
            [("graft.example", None), ("10.1.2.3", None), ("127.0.0.1", None), ("evil.example", Some("evil.example"))]
        {
            check(&named, &[host], expected);
        }
        check(&hosts("::ffff:127.0.0.1", &[]), &["evil.example"], Some("evil.example"));
    }

    #[test]
    fn a_proxys_form_of_a_request_is_no_way_around() {
        let header = HeaderValue::from_static("localhost");
        let check = |uri: &'static str| hosts("::1", &[]).check(&Uri::from_static(uri), &[&header], None).is_ok();
        assert!(check("http://localhost:8080/models") && !check("http://evil.example/models"));
    }
}
