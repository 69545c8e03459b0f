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
            "connect_failed" | "connect_timeout" | "upstream_tls" | "upstream_tls_timeout" => Self::Connect,
            _ if kind.ends_with("timeout") => Self::Timeout,
            _ => Self::Reset,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DialFailed, Reason, Step};

    #[test]
    fn a_connection_that_could_not_be_made_is_a_failed_connect() {
        for step in [Step::Connect, Step::Tls] {
            let failed = DialFailed {
                step,
                reason: Reason::Closed,
            };
            assert_eq!(FailedBy::of(failed.kind()), FailedBy::Connect);
        }
        assert_eq!(FailedBy::of("upstream_head_timeout"), FailedBy::Timeout);
        assert_eq!(FailedBy::of("upstream_reset"), FailedBy::Reset);
    }
}
