//! The policies of balancing and their names.

use std::str::FromStr;

use thiserror::Error;

/// How a server is chosen; every one but [`Balance::First`] heeds weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Balance {
    /// Smooth weighted round robin, as nginx's default.
    #[default]
    RoundRobin,
    /// The server with the fewest connections for its weight; round robin among equals.
    LeastConn,
    /// The server with the least expected time: see [`super::latency`].
    LeastTime,
    /// The better of two drawn by weight, by expected time (Mitzenmacher, 2001).
    P2c,
    /// By chance.
    Random,
    /// The same client's address goes to the same server while that is in rotation.
    IpHash,
    /// The same key goes to the same server, as long as that has not more than its share: see [`super::hashing`].
    Hash,
    /// The first in the order listed that has room.
    First,
}

impl Balance {
    /// Whether it needs to know how long servers take to respond.
    #[must_use]
    pub fn needs_latency(self) -> bool {
        matches!(self, Self::LeastTime | Self::P2c)
    }
}

const NAMES: [(&str, Balance); 8] = [
    ("round_robin", Balance::RoundRobin),
    ("least_conn", Balance::LeastConn),
    ("least_time", Balance::LeastTime),
    ("p2c", Balance::P2c),
    ("random", Balance::Random),
    ("ip_hash", Balance::IpHash),
    ("hash", Balance::Hash),
    ("first", Balance::First),
];

/// A name of a way of balancing that is not known.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "unknown balance `{0}`\nhint: one of `round_robin`, `least_conn`, `least_time`, `p2c`, `random`, `ip_hash`, `hash`, `first`"
)]
pub struct UnknownBalance(pub String);

impl FromStr for Balance {
    type Err = UnknownBalance;

    fn from_str(name: &str) -> Result<Self, UnknownBalance> {
        let known = NAMES.iter().find(|(known, _)| *known == name);
        known
            .map(|(_, balance)| *balance)
            .ok_or_else(|| UnknownBalance(name.to_owned()))
    }
}
