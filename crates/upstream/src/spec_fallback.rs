//! Responses of last resort, as they come in a snapshot.

use serde::Deserialize;

/// What clients get when no server has served them: the response of another upstream; if that fails too, the last good one; else
/// a fixed one.
#[derive(Deserialize, Debug, Clone, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Fallback {
    /// The name of the other upstream.
    pub upstream: Option<String>,
    /// What is kept of responses, if anything is.
    #[serde(default)]
    pub stale: Option<Stale>,
    /// The fixed response.
    pub respond: Option<FixedResponse>,
}

/// A fixed response.
#[derive(Deserialize, Debug, Clone, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct FixedResponse {
    /// Its status.
    pub status: u16,
    /// Its fields.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: String,
}

/// Which responses are kept, to be given when they are stale, in each worker: see [`crate::Stale`].
#[derive(Deserialize, Debug, Clone, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Stale {
    /// For how long at most, in seconds.
    pub max_age_s: u64,
    /// The memory for all of them.
    pub max_bytes: usize,
    /// The most bytes of a body.
    pub max_body_bytes: usize,
}
