//! Hedges and limits that adapt, as they come in a snapshot.

use serde::Deserialize;

use headgate_route::AdaptiveSpec;

/// The bounds of a limit that adapts to latency: see [`AdaptiveSpec`].
#[derive(Deserialize, Debug, Clone, PartialEq)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct AdaptiveLimit {
    pub min: u32,
    pub max: u32,
    pub initial: u32,
}

impl AdaptiveLimit {
    pub(crate) fn bounds(&self) -> AdaptiveSpec {
        AdaptiveSpec {
            min: self.min,
            max: self.max,
            initial: self.initial,
        }
    }
}

/// When a request that waits for its response goes to another server as well.
#[derive(Deserialize, Debug, Clone, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Hedge {
    /// After so many milliseconds.
    pub after: Option<u64>,
    /// After the time that so many of a hundred requests do not exceed; one of the two is given.
    pub percentile: Option<u32>,
    /// The most hedges of a request.
    pub max: u32,
    /// The most retries and hedges at a time, as a share of the upstream's requests in percent.
    pub budget_percent: u32,
}
