//! Who sends a request: the address that its connection comes from.

use std::net::SocketAddr;

use axum::{extract::ConnectInfo, http::Extensions};

use crate::work::Client;

/// Who sends the request with these `extensions`; the process itself, where no connection brought it.
pub fn client(extensions: &Extensions) -> Client {
    let peer = extensions.get::<ConnectInfo<SocketAddr>>();
    peer.map_or_else(Client::local, |ConnectInfo(address)| Client::address(address.ip()))
}
