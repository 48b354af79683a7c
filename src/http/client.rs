//! Who sends a request: the holder of a key, else the address that its connection comes from.

use std::net::SocketAddr;

use axum::{extract::ConnectInfo, http::Extensions};

use crate::work::Client;

/// Who sends the request with these `extensions`, as its door says; the process itself, where no connection brought it.
pub fn client(extensions: &Extensions) -> Client {
    if let Some(client) = extensions.get::<Client>() {
        return client.clone();
    }
    let peer = extensions.get::<ConnectInfo<SocketAddr>>();
    peer.map_or_else(Client::local, |ConnectInfo(address)| Client::address(address.ip()))
}
