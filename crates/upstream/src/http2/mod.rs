//! HTTP/2 towards servers, and what both sides of it share (RFC 9113).
//!
//! # How it works
//! A server's connection is shared by many requests ([`connections`]); each attempt gets a virtual stream ([`server_stream`]) that
//! it writes an HTTP/1 request to. [`incoming`] turns frames into HTTP/1 bytes, [`outgoing`] the reverse; the client's side,
//! which is the engine's, uses the same two. Flow control is given back only as somebody reads, and only what the peer's
//! windows allow can be written.

pub mod body_splitter;
pub mod connections;
pub mod fields;
pub mod grpc_web;
pub mod http1_bytes;
pub mod incoming;
pub mod outgoing;
pub(crate) mod response_text;
pub(crate) mod server_stream;
pub mod transport;
pub mod websocket_key;
