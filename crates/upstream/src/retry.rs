//! What may be sent again after an attempt failed.

/// Whether the same request may be tried anew (RFC 9110 section 9.2.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Retry {
    /// It may have done its work, or would fail in the same way.
    Never,
    /// Only if doing the work twice is harmless.
    IfIdempotent,
    /// Only if doing the work twice is harmless; on a connection that was kept from before, on which its server may have
    /// ended or left something meanwhile, at once. A fresh connection that ends like this is a failure of the server.
    IfConnectionWasReused,
    /// Nothing of it can have been acted on.
    AlwaysSafe,
}

impl Retry {
    /// Whether it may go to another server.
    #[inline]
    #[must_use]
    pub fn on_another_server(self, is_idempotent: bool) -> bool {
        match self {
            Self::Never => false,
            Self::IfIdempotent | Self::IfConnectionWasReused => is_idempotent,
            Self::AlwaysSafe => true,
        }
    }

    /// Whether it may go to the same server once more at once, on a connection (or a stream of HTTP/2) that is not the one
    /// it failed on, which `was_reused`.
    #[inline]
    #[must_use]
    pub fn on_fresh_connection(self, was_reused: bool, is_idempotent: bool) -> bool {
        match self {
            Self::Never | Self::IfIdempotent => false,
            Self::IfConnectionWasReused => was_reused && is_idempotent,
            Self::AlwaysSafe => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_goes_to_another_server_only_where_twice_is_harmless() {
        let verdicts = [
            Retry::Never,
            Retry::IfIdempotent,
            Retry::IfConnectionWasReused,
            Retry::AlwaysSafe,
        ];
        assert_eq!(
            verdicts.map(|verdict| verdict.on_another_server(false)),
            [false, false, false, true]
        );
        assert_eq!(
            verdicts.map(|verdict| verdict.on_another_server(true)),
            [false, true, true, true]
        );
    }

    #[test]
    fn only_a_kept_connection_is_replaced_by_a_fresh_one() {
        for verdict in [Retry::Never, Retry::IfIdempotent] {
            assert!(!verdict.on_fresh_connection(true, true), "{verdict:?}");
        }
        assert!(Retry::AlwaysSafe.on_fresh_connection(false, false));
        assert!(Retry::IfConnectionWasReused.on_fresh_connection(true, true));
        assert!(!Retry::IfConnectionWasReused.on_fresh_connection(false, true));
        assert!(!Retry::IfConnectionWasReused.on_fresh_connection(true, false));
    }
}
