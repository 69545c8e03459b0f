//! What a server has failed by, as far as it matters for leaving it out.

use serde::Deserialize;

/// A kind of failure of a server.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "snake_case")]
pub enum FailedBy {
    /// No connection, or no TLS session.
    Connect,
    /// It took a connection, and too long for the rest.
    Timeout,
    /// It ended or broke the connection, or sent what is no response.
    Reset,
}

impl FailedBy {
    /// Of a failure's name, as it is in logs.
    pub fn of(kind: &str) -> Self {
        match kind {
            "connect" | "connect_timeout" | "upstream_tls" | "upstream_tls_timeout" => Self::Connect,
            _ if kind.ends_with("timeout") => Self::Timeout,
            _ => Self::Reset,
        }
    }
}
