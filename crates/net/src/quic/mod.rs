//! QUIC (RFC 9000) on the worker's own loop: the state machines of the crate `quinn-proto`, and what moves their packets.
//!
//! # How it works
//! An [`Endpoint`] is a UDP socket ([`PacketSocket`]) and the connections on it. One task ([`driver`]) moves the packets of
//! all of them: what has arrived goes to the connections, their users run, and then every connection that has something to
//! say sends it, many packets in one call. Users work on a connection's state directly ([`link`]) and put it into the
//! driver's queue. All of it lives on one thread; an idle connection has neither a task nor buffers here.

mod connection;
mod driver;
mod endpoint;
mod hello;
mod link;
mod session;
mod socket;
mod streams;
mod timers;

pub use connection::{Completed, Connecting, Connection};
pub use endpoint::{Endpoint, Incoming};
pub use session::{Agreed, ServerCrypto};
pub use socket::{PacketSocket, PlainSocket, Sending};
pub use streams::{ReceiveStream, SendStream, Stopped, StreamError};
