//! Which failed connections to one server are logged: each kind at once, then one line in some seconds, with a count.
//!
//! A server that is down fails as often as it is asked, which may be thousands of times a second.

use std::cell::RefCell;

/// Between two lines of one kind about one server.
const INTERVAL_US: u64 = 5_000_000;

/// What was last logged of one server.
#[derive(Default)]
pub(crate) struct DialLog {
    kinds: RefCell<Vec<Logged>>,
}

struct Logged {
    kind: &'static str,
    at_us: u64,
    left_out: u64,
}

/// What a line says of those that were left out: how many, if there were any.
pub(crate) type LeftOut = Option<u64>;

impl DialLog {
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
        let log = DialLog::default();
        assert_eq!(log.admit("connect", 1), Some(None));
        assert_eq!(log.admit("connect", 2), None);
        assert_eq!(log.admit("upstream_tls", 3), Some(None));
        assert_eq!(log.admit("connect", INTERVAL_US), None);
        assert_eq!(log.admit("connect", INTERVAL_US + 1), Some(Some(2)));
        assert_eq!(log.admit("connect", 3 * INTERVAL_US), Some(None));
    }
}
