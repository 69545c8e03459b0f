//! Accepting connections: the listener, what is read before the first request, and which connections are admitted.

pub(crate) mod listener;
pub(crate) mod preread;
pub(crate) mod protocol;
pub(crate) mod sockets;
