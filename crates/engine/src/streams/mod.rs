//! Connections and datagrams whose bytes mean nothing to the gateway.

pub(crate) mod tcp;
pub(crate) mod udp;
mod udp_waits;
