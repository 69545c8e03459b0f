//! The ways of balancing and their names.

use std::str::FromStr;

use thiserror::Error;

/// A way of choosing among servers; every one heeds weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Balance {
    /// Smooth weighted round robin, as nginx's default.
    #[default]
    RoundRobin,
    /// The server with the fewest connections for its weight; round robin among equals.
    LeastConn,
    /// By chance.
    Random,
    /// The same key (a client's address) goes to the same server while that is in rotation.
    IpHash,
}

/// A name of a way of balancing that is not known.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("unknown balance `{0}`\nhint: one of `round_robin`, `least_conn`, `random`, `ip_hash`")]
pub struct UnknownBalance(pub String);

impl FromStr for Balance {
    type Err = UnknownBalance;

    fn from_str(name: &str) -> Result<Self, UnknownBalance> {
        match name {
            "round_robin" => Ok(Self::RoundRobin),
            "least_conn" => Ok(Self::LeastConn),
            "random" => Ok(Self::Random),
            "ip_hash" => Ok(Self::IpHash),
            _ => Err(UnknownBalance(name.to_owned())),
        }
    }
}
