//! What the error log says of servers that fail, on new connections and on open ones: each kind at once, then one line in
//! some seconds, with a count.
//!
//! A server that is down fails as often as it is asked, which may be thousands of times a second.

use std::cell::RefCell;

/// Between two lines of one kind about one server.
const INTERVAL_US: u64 = 5_000_000;

/// A failure of a server, as the error log tells it.
pub struct ServerFailure<'a> {
    /// A word for it, a `kind` of failures.
    pub kind: &'static str,
    /// What happened: one lower-case sentence.
    pub message: &'a str,
    /// What the system or the server's protocol said of it; for operators only.
    pub detail: Option<&'a str>,
    /// The limit that was hit, if one was.
    pub limit: Option<&'static str>,
    /// The route, or the listener of what has no routes.
    pub route: Option<&'a str>,
    /// The id of the request.
    pub request_id: Option<&'a str>,
}

/// What was last logged of one server.
#[derive(Default)]
pub(crate) struct FailureLog {
    kinds: RefCell<Vec<Logged>>,
}

struct Logged {
    kind: &'static str,
    at_us: u64,
    left_out: u64,
}

/// What a line says of those that were left out: how many, if there were any.
pub(crate) type LeftOut = Option<u64>;

impl FailureLog {
    /// Whether a failure of this `kind` is to be logged now; if so, how many like it were left out since the last line.
    pub(crate) fn admit(&self, kind: &'static str, now_us: u64) -> Option<LeftOut> {
        let mut kinds = self.kinds.borrow_mut();
        let Some(last) = kinds.iter_mut().find(|one| one.kind == kind) else {
            kinds.push(Logged {
                kind,
                at_us: now_us,
                left_out: 0,
            });
            return Some(None);
        };
        if now_us.saturating_sub(last.at_us) < INTERVAL_US {
            last.left_out += 1;
            return None;
        }
        last.at_us = now_us;
        let left_out = std::mem::take(&mut last.left_out);
        Some((left_out > 0).then_some(left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_logged_at_once_then_seldom_with_a_count() {
        let log = FailureLog::default();
        assert_eq!(log.admit("connect_failed", 1), Some(None));
        assert_eq!(log.admit("connect_failed", 2), None);
        assert_eq!(log.admit("upstream_tls", 3), Some(None));
        assert_eq!(log.admit("connect_failed", INTERVAL_US), None);
        assert_eq!(log.admit("connect_failed", INTERVAL_US + 1), Some(Some(2)));
        assert_eq!(log.admit("connect_failed", 3 * INTERVAL_US), Some(None));
    }
}
