//! HTTP/3 from clients (RFC 9114), translated into HTTP/1 in memory as HTTP/2 is.
//!
//! # How it works
//! QUIC is [`headgate_net::quic`]. A listener ([`listener`]) takes connections, runs
//! `connect` hooks and does the handshake ([`handshake`]); a connection ([`connection`]) starts a task for each stream of
//! a request, which becomes a virtual byte stream ([`accepted`]) that the ordinary exchange serves.
//!
//! Every packet must reach the worker that holds its connection, wherever the kernel delivers it: the ids that clients
//! address us by say whose they are ([`connection_id`]), and what belongs to another worker, of this generation or an
//! older one, is handed to it ([`socket`], [`inbox`]).

mod accepted;
mod address_tokens;
mod connection;
mod connection_id;
mod early;
mod fields;
mod handshake;
mod inbox;
mod listener;
mod outgoing;
mod qlog;
mod request;
mod socket;
mod transport;
mod uni_streams;

pub(crate) use listener::{Http3Listener, HTTP3_PREFIX};
