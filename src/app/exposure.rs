//! Who is answered by default: this machine, or whoever holds a key; others only where a setting says so.
//!
//! Knows neither keys nor sockets.

use crate::config::{Auth, ServerConfig};

/// Why a server does not start: everyone who reaches it could use it.
#[derive(Debug, thiserror::Error)]
#[error(
    "anyone who reaches {host} could use this server and delete its models: {}, listen on this machine alone (`server.host` 127.0.0.1), \
     or set `server.allow_anonymous` to true (`GRAFT__SERVER__ALLOW_ANONYMOUS=true`)",
    without(*.auth)
)]
pub struct Exposed {
    host: std::net::IpAddr,
    auth: Auth,
}

/// Why no key is asked for, and how one would be.
fn without(auth: Auth) -> &'static str {
    match auth {
        Auth::Off => "`server.auth` is `off`, so that API keys do not count; set it to `auto` and make one (`graft keys create`)",
        Auth::Auto | Auth::Required => "no API key exists; make one (`graft keys create`)",
    }
}

/// What to warn of at start, if anything.
///
/// # Errors
/// When others than this machine could use the server without a key, and no setting allows that.
pub fn check(server: &ServerConfig, is_closed: bool) -> Result<Option<String>, Exposed> {
    match (server.is_loopback() || is_closed, server.allow_anonymous) {
        (true, _) => Ok(None),
        (false, true) => Ok(Some(format!(
            "anyone who reaches this address may use the server and delete its models (`server.allow_anonymous`): {}",
            without(server.auth)
        ))),
        (false, false) => Err(Exposed { host: server.host, auth: server.auth }),
    }
}

/// What to warn of where any page may ask without a key: whoever's browser reaches the server can be made to use it.
pub fn warn_of_pages(server: &ServerConfig, is_closed: bool) -> Option<String> {
    let any = server.cors_origins.iter().any(|origin| origin == "*");
    (any && !is_closed).then(|| {
        format!(
            "any page that a browser which reaches this server visits may use it and delete its models (`server.cors_origins` is `*`): list \
             the origins that may, or ask for keys; {}",
            without(server.auth)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, load};

    #[test]
    fn strangers_are_answered_only_where_a_setting_says_so() {
        let check = |host: &str, allow_anonymous: bool, keys_exist: bool, expected: Result<bool, &str>| {
            let host = host.parse().expect("an address");
            let server = load(&Sources::default()).expect("the defaults are valid").server;
            let found = check(&ServerConfig { host, allow_anonymous, ..server }, keys_exist);
            let found = found.map(|warning| warning.is_some()).map_err(|error| error.to_string());
            match expected {
                Ok(warned) => assert_eq!(found, Ok(warned), "{host}"),
                Err(part) => assert!(found.as_ref().is_err_and(|error| error.contains(part)), "{host}: {found:?}"),
            }
        };
        for loopback in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
            check(loopback, false, false, Ok(false));
        }
        for open in ["0.0.0.0", "::", "10.1.2.3", "::ffff:10.1.2.3", "fe80::1"] {
            for way_out in ["`graft keys create`", "`server.host` 127.0.0.1", "`server.allow_anonymous`", open] {
                check(open, false, false, Err(way_out));
            }
            check(open, true, false, Ok(true));
            check(open, false, true, Ok(false));
            check(open, true, true, Ok(false));
        }
        let server = load(&Sources::default()).expect("the defaults are valid").server;
        for (origins, is_closed, warned) in
            [(&["*"][..], false, true), (&["*"], true, false), (&["https://app.example"], false, false), (&[], false, false)]
        {
            let server =
                ServerConfig { cors_origins: origins.iter().map(|&origin| origin.to_owned()).collect(), ..server.clone() };
            assert_eq!(warn_of_pages(&server, is_closed).is_some(), warned, "{origins:?}");
        }
        let off = ServerConfig { host: [0, 0, 0, 0].into(), auth: Auth::Off, ..server };
        let exposed = super::check(&off, false).expect_err("keys do not count");
        assert!(exposed.to_string().contains("`server.auth` is `off`, so that API keys do not count"), "{exposed}");
    }
}
