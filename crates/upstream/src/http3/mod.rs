//! HTTP/3 towards servers, and what both sides of it share (RFC 9114).
//!
//! # How it works
//! As with HTTP/2: a server's connection is shared by many requests ([`connections`]), and each attempt gets a virtual stream
//! ([`server_stream`]) that it writes an HTTP/1 request to. [`incoming`] turns frames into HTTP/1 bytes, [`outgoing`] the
//! reverse; the client's side, which is the engine's, uses the same two.

pub mod connections;
mod control;
pub mod dialing;
pub mod fields;
pub mod frames;
pub mod incoming;
pub mod outgoing;
mod server_stream;
