//! Who asks: what shares are counted by.

use std::{fmt, net::IpAddr, sync::Arc};

/// Whoever sends requests, as far as graft can tell callers apart; cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Client(Arc<str>);

/// What the owner of a key is called by; no address begins like that.
const KEY: &str = "key ";

impl Client {
    /// The owner of the key `name`, wherever they are.
    pub fn key(name: &str) -> Self {
        Self(format!("{KEY}{name}").into())
    }

    /// Whoever has `address`; of IPv6 the network of 64 bits, all of which one host usually has.
    pub fn address(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(address.to_string().into()),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self(format!("{a:x}:{b:x}:{c:x}:{d:x}::/64").into())
            }
        }
    }

    /// The name of the key, if it is the owner of one.
    pub fn key_name(&self) -> Option<&str> {
        self.0.strip_prefix(KEY)
    }

    /// The process itself, such as the command line.
    pub fn local() -> Self {
        Self("local".into())
    }
}

/// For lines of the log.
impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_host_is_one_client() {
        let client = |text: &str| Client::address(text.parse().expect("an address"));
        assert_eq!(client("10.0.0.1"), client("::ffff:10.0.0.1"));
        assert_ne!(client("10.0.0.1"), client("10.0.0.2"));
        assert_eq!(client("2001:db8:1:2::1"), client("2001:db8:1:2:ffff::9"));
        assert_ne!(client("2001:db8:1:2::1"), client("2001:db8:1:3::1"));
        assert_eq!(Client::key("ci").key_name(), Some("ci"));
        assert_eq!(client("10.0.0.1").key_name(), None);
        assert_ne!(Client::key("10.0.0.1"), client("10.0.0.1"), "a key's name is no address");
    }
}
