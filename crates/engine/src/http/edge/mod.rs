//! HTTP/2 and HTTP/3 ([`http3`]), translated at the edge into HTTP/1 messages in memory (RFC 9113).
//!
//! # How it works
//! A client's connection is a task that runs the crate `h2` over the socket ([`connection`]). Each of its streams becomes a
//! virtual byte stream ([`accepted`]) on which an ordinary [`crate::state::connection::Connection`] serves one request: the
//! strict HTTP/1 parser judges what came, and routes, hooks, limits and errors are the same as for HTTP/1. A server's
//! connection is shared by many requests ([`upstream`]); each attempt gets a virtual stream ([`opened`]) that it writes an
//! HTTP/1 request to.
//!
//! Both ways use the same two halves: [`incoming`] turns frames into HTTP/1 bytes, [`outgoing`] the reverse. Flow control is
//! given back only as the exchange reads, and the exchange can write only what the peer's windows allow.

mod accepted;
mod connection;
mod http3;
mod priorities;
mod request_text;
mod response_head;
mod room;

pub(crate) use connection::serve;
pub(crate) use http3::{Http3Listener, HTTP3_PREFIX};

use crate::state::connection::Connection;

/// What a client sends first (RFC 9113 section 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Whether a connection that began with these bytes speaks HTTP/2: `None` while that is open.
pub(crate) fn is_preface(bytes: &[u8]) -> Option<bool> {
    let n = bytes.len().min(PREFACE.len());
    if bytes[..n] != PREFACE[..n] {
        return Some(false);
    }
    (n == PREFACE.len()).then_some(true)
}

/// Decides whether a fresh connection speaks HTTP/2, reading on while its first bytes are a part of the preface.
pub(crate) async fn begins_with_preface(connection: &mut Connection) -> bool {
    loop {
        if let Some(verdict) = is_preface(connection.peer.unread()) {
            return verdict;
        }
        if connection
            .peer
            .fill(&connection.watch, PREFACE.len())
            .await
            .is_err()
        {
            // the HTTP/1 side refuses what is there, if anything
            return false;
        }
    }
}
