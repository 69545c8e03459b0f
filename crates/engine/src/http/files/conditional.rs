//! Conditional requests (RFC 9110 section 13): whether a file is sent, and whether a range of it may be.

use crate::http_date;

/// The fields of a request that a static response depends on, and the time.
///
/// Fields that occur more than once are given joined by `, `.
#[derive(Clone, Copy, Debug, Default)]
pub struct Conditions<'a> {
    /// `If-Match`.
    pub if_match: Option<&'a [u8]>,
    /// `If-None-Match`.
    pub if_none_match: Option<&'a [u8]>,
    /// `If-Modified-Since`.
    pub if_modified_since: Option<&'a [u8]>,
    /// `If-Unmodified-Since`.
    pub if_unmodified_since: Option<&'a [u8]>,
    /// `If-Range`.
    pub if_range: Option<&'a [u8]>,
    /// `Range`.
    pub range: Option<&'a [u8]>,
    /// Now, in seconds since 1970.
    pub now_unix_seconds: u64,
}

/// What identifies the current content of a file.
#[derive(Clone, Debug)]
pub(super) struct Validators {
    /// A strong entity tag with its quotes.
    pub(super) etag: String,
    /// Time of the last change in seconds since 1970, never in the future.
    pub(super) last_modified: u64,
}

/// How the conditions of a request come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PreconditionResult {
    /// Send the file.
    Send,
    /// 304: the client has it.
    NotModified,
    /// 412: it is not what the client expects.
    Failed,
}

/// Judges the conditions of a GET or HEAD in the order of section 13.2.2. Dates that cannot be read are ignored.
pub(super) fn evaluate(conditions: &Conditions<'_>, current: &Validators) -> PreconditionResult {
    let has_changed_since = |field: Option<&[u8]>| {
        let date = http_date::parse(field?, conditions.now_unix_seconds)?;
        Some(current.last_modified > date)
    };
    let is_as_expected = match conditions.if_match {
        Some(tags) => lists(tags, &current.etag, Comparison::Strong),
        None => has_changed_since(conditions.if_unmodified_since) != Some(true),
    };
    if !is_as_expected {
        return PreconditionResult::Failed;
    }
    let client_has_it = match conditions.if_none_match {
        Some(tags) => lists(tags, &current.etag, Comparison::Weak),
        None => has_changed_since(conditions.if_modified_since) == Some(false),
    };
    if client_has_it {
        PreconditionResult::NotModified
    } else {
        PreconditionResult::Send
    }
}

/// Whether the `Range` field counts: `If-Range` is absent or names the current content (section 13.1.5).
pub(super) fn range_applies(conditions: &Conditions<'_>, current: &Validators) -> bool {
    let Some(validator) = conditions.if_range.map(<[u8]>::trim_ascii) else {
        return true;
    };
    if validator.starts_with(b"\"") {
        return validator == current.etag.as_bytes();
    }
    // A date is a strong validator only when the file can no longer change within that second (section 8.8.2.2).
    http_date::parse(validator, conditions.now_unix_seconds) == Some(current.last_modified)
        && conditions.now_unix_seconds > current.last_modified
}

/// How entity tags are compared (section 8.8.3.2); the current one is always strong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

/// Whether `*` or a list of entity tags includes the current one. What is malformed ends the list.
fn lists(tags: &[u8], current: &str, comparison: Comparison) -> bool {
    let mut rest = tags.trim_ascii();
    if rest == b"*" {
        return true;
    }
    loop {
        rest = rest.trim_ascii_start();
        if let [b',', after @ ..] = rest {
            rest = after;
            continue;
        }
        let (is_weak, opaque) = match rest {
            [b'W', b'/', after @ ..] => (true, after),
            _ => (false, rest),
        };
        let Some(end) = quoted_length(opaque) else {
            return false;
        };
        if &opaque[..end] == current.as_bytes() && (comparison == Comparison::Weak || !is_weak) {
            return true;
        }
        rest = opaque[end..].trim_ascii_start();
        if !rest.is_empty() && rest[0] != b',' {
            return false;
        }
    }
}

/// Length of the opaque tag that `text` starts with, quotes included.
fn quoted_length(text: &[u8]) -> Option<usize> {
    let inside = text.strip_prefix(b"\"")?;
    memchr::memchr(b'"', inside).map(|end| end + 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BEFORE: &[u8] = b"Sun, 06 Nov 1994 08:49:36 GMT";
    const SAME: &[u8] = b"Sun, 06 Nov 1994 08:49:37 GMT";
    const AFTER: &[u8] = b"Sun, 06 Nov 1994 08:49:38 GMT";

    fn current() -> Validators {
        Validators {
            etag: "\"a1\"".to_owned(),
            last_modified: 784_111_777,
        }
    }

    fn verdict(conditions: Conditions<'_>) -> PreconditionResult {
        evaluate(
            &Conditions {
                now_unix_seconds: 1_790_000_000,
                ..conditions
            },
            &current(),
        )
    }

    fn none() -> Conditions<'static> {
        Conditions::default()
    }

    #[test]
    fn if_none_match_compares_weakly() {
        for tags in [
            "\"a1\"",
            "W/\"a1\"",
            "\"x\", \"a1\"",
            ",, W/\"x\" ,\"a1\"",
            "*",
            " * ",
        ] {
            let conditions = Conditions {
                if_none_match: Some(tags.as_bytes()),
                ..none()
            };
            assert_eq!(verdict(conditions), PreconditionResult::NotModified, "{tags}");
        }
        for tags in [
            "\"a2\"",
            "a1",
            "",
            "\"a1",
            "\"x\" \"a1\"",
            "w/\"a1\"",
            "\"x,\"a1\"",
            "\"*\"",
        ] {
            let conditions = Conditions {
                if_none_match: Some(tags.as_bytes()),
                ..none()
            };
            assert_eq!(verdict(conditions), PreconditionResult::Send, "{tags}");
        }
    }

    #[test]
    fn if_match_compares_strongly() {
        let verdict_of = |tags: &'static str| {
            verdict(Conditions {
                if_match: Some(tags.as_bytes()),
                ..none()
            })
        };
        assert_eq!(verdict_of("\"x\", \"a1\""), PreconditionResult::Send);
        assert_eq!(verdict_of("*"), PreconditionResult::Send);
        assert_eq!(verdict_of("W/\"a1\""), PreconditionResult::Failed);
        assert_eq!(verdict_of("\"a2\""), PreconditionResult::Failed);
        assert_eq!(verdict_of("nonsense"), PreconditionResult::Failed);
    }

    #[test]
    fn dates_are_compared_by_the_second() {
        let modified = |date| {
            verdict(Conditions {
                if_modified_since: Some(date),
                ..none()
            })
        };
        assert_eq!(
            [modified(BEFORE), modified(SAME), modified(AFTER)],
            [
                PreconditionResult::Send,
                PreconditionResult::NotModified,
                PreconditionResult::NotModified
            ]
        );
        let unmodified = |date| {
            verdict(Conditions {
                if_unmodified_since: Some(date),
                ..none()
            })
        };
        assert_eq!(
            [unmodified(BEFORE), unmodified(SAME), unmodified(AFTER)],
            [
                PreconditionResult::Failed,
                PreconditionResult::Send,
                PreconditionResult::Send
            ]
        );
    }

    #[test]
    fn unreadable_dates_are_ignored() {
        let conditions = Conditions {
            if_modified_since: Some(b"yesterday"),
            if_unmodified_since: Some(b"0"),
            ..none()
        };
        assert_eq!(verdict(conditions), PreconditionResult::Send);
    }

    #[test]
    fn tags_win_over_dates() {
        let conditions = Conditions {
            if_none_match: Some(b"\"x\""),
            if_modified_since: Some(AFTER),
            ..none()
        };
        assert_eq!(verdict(conditions), PreconditionResult::Send);
        let conditions = Conditions {
            if_match: Some(b"*"),
            if_unmodified_since: Some(BEFORE),
            ..none()
        };
        assert_eq!(verdict(conditions), PreconditionResult::Send);
    }

    #[test]
    fn failure_comes_before_not_modified() {
        let conditions = Conditions {
            if_match: Some(b"\"x\""),
            if_none_match: Some(b"\"a1\""),
            ..none()
        };
        assert_eq!(verdict(conditions), PreconditionResult::Failed);
    }

    #[test]
    fn if_range_needs_a_strong_match() {
        let applies = |validator: &[u8], now_unix_seconds| {
            range_applies(
                &Conditions {
                    if_range: Some(validator),
                    now_unix_seconds,
                    ..none()
                },
                &current(),
            )
        };
        let later = 1_790_000_000;
        assert!(range_applies(&none(), &current()));
        assert!(applies(b"\"a1\"", later));
        assert!(!applies(b"W/\"a1\"", later));
        assert!(!applies(b"\"a2\"", later));
        assert!(applies(SAME, later));
        assert!(!applies(AFTER, later));
        assert!(!applies(SAME, current().last_modified));
        assert!(!applies(b"", later));
    }

    proptest! {
        #[test]
        fn no_field_panics(tags in "[W/\"a1,* ]{0,20}", now_unix_seconds: u64) {
            let field = Some(tags.as_bytes());
            let conditions = Conditions {
                if_match: field, if_none_match: field, if_modified_since: field, if_unmodified_since: field,
                if_range: field, range: field, now_unix_seconds,
            };
            let _ = evaluate(&conditions, &current());
            let _ = evaluate(&Conditions { if_match: None, ..conditions }, &current());
            let _ = range_applies(&conditions, &current());
        }
    }
}
