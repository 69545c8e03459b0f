//! Secrets in paths: segments that a pattern names, and those that look like secrets wherever they stand.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::bytes::Regex;

use super::{decoded, Secrets, TargetMask};

/// Addresses of mail, and JWT, encrypted or not, with what servers may leave out behind them.
static SECRET: LazyLock<Regex> = LazyLock::new(|| {
    let mail = r"[^@\s]+@[^@\s]*\.[A-Za-z]{2,}(?:[.;].*)?";
    let jwt = r"eyJ[\w-]+(?:\.[\w-]*)+(?:;.*)?";
    #[allow(clippy::expect_used, reason = "it is known here")]
    Regex::new(&format!("(?s-u)^(?:{mail}|{jwt})$")).expect("it is a regex")
});

/// A path with segments that are secrets.
#[derive(Debug)]
pub(super) struct Pattern {
    /// What stands there; `None` is a secret.
    segments: Box<[Option<Box<[u8]>>]>,
    /// Whether all that follows is secret, at least one segment.
    has_rest: bool,
}

/// What a server may read as a segment, and the number of the text's segment in which it stands.
type Part<'a> = (&'a [u8], usize);

impl Pattern {
    pub(super) fn parse(path: &str) -> Self {
        let mut segments: Vec<_> = path.trim_matches('/').split('/').collect();
        let has_rest = segments.last() == Some(&"*");
        segments.truncate(segments.len() - usize::from(has_rest));
        let read = |segment: &str| {
            let is_secret = segment.starts_with('{');
            (!is_secret).then(|| decoded(segment.as_bytes()).into())
        };
        Self {
            segments: segments.into_iter().map(read).collect(),
            has_rest,
        }
    }

    /// Marks the secrets, if the path is one of these.
    fn mark(&self, parts: &[Part<'_>], is_secret: &mut [bool]) {
        let count = self.segments.len();
        let fits = if self.has_rest {
            parts.len() > count
        } else {
            parts.len() == count
        };
        let is_equal = |known: &Option<Box<[u8]>>, part: &[u8]| {
            known
                .as_ref()
                .is_none_or(|known| known.eq_ignore_ascii_case(bare(part)))
        };
        if !fits
            || !self
                .segments
                .iter()
                .zip(parts)
                .all(|(known, (part, _))| is_equal(known, part))
        {
            return;
        }
        for (position, (_, number)) in parts.iter().enumerate() {
            if self.segments.get(position).is_none_or(Option::is_none) {
                is_secret[*number] = true;
            }
        }
    }
}

impl TargetMask {
    /// Secrets of a path, with its scheme and its host if it has these.
    pub(super) fn find_in_path(&self, path: &[u8], found: &mut Secrets) {
        let is_slash = |byte: &u8| *byte == b'/';
        let host = path.windows(3).position(|three| three == b"://").map(|at| at + 3);
        // the number of the first segment behind the host
        let first = match host {
            Some(host) => path[..host].iter().filter(|byte| is_slash(byte)).count() + 1,
            None => 0,
        };
        let segments: Vec<&[u8]> = path.split(is_slash).collect();
        if segments.len() < 2 {
            return;
        }
        let mut is_secret = vec![false; segments.len()];
        if self.has_looks || !self.paths.is_empty() {
            let plain: Vec<Cow<'_, [u8]>> = segments.iter().map(|segment| decoded(segment)).collect();
            self.mark(&plain, first, &mut is_secret);
            // with a host and no scheme, as in a Location
            if path.starts_with(b"//") {
                self.mark(&plain, 3, &mut is_secret);
            }
        }
        let mut at = 0;
        for (number, segment) in segments.iter().enumerate() {
            let user =
                memchr::memrchr(b'@', segment).filter(|_| number > 1 && segments[number - 1].is_empty());
            if is_secret[number] {
                found.push(at..at + segment.len());
            } else {
                let rest = user.unwrap_or_default();
                if user.is_some() {
                    found.push(at..at + rest);
                }
                if number >= first {
                    self.find_in_pair(&segment[rest..], at + rest, found);
                }
            }
            at += segment.len() + 1;
        }
    }

    /// Marks the secrets among segments, of which those from `first` on are a path.
    fn mark(&self, plain: &[Cow<'_, [u8]>], first: usize, is_secret: &mut [bool]) {
        let mut sent = Vec::with_capacity(plain.len());
        for (number, segment) in plain.iter().enumerate().skip(first) {
            is_secret[number] |= self.has_looks && SECRET.is_match(segment);
            let parts = segment.split(|byte| matches!(byte, b'/' | b'\\'));
            sent.extend(
                parts
                    .filter(|part| !matches!(*part, b"" | b"."))
                    .map(|part| (part, number)),
            );
        }
        // RFC 3986 section 5.2.4
        let mut resolved = Vec::with_capacity(sent.len());
        for part in &sent {
            if bare(part.0) == b".." {
                resolved.pop();
            } else if !matches!(bare(part.0), b"." | b"") {
                resolved.push(*part);
            }
        }
        for pattern in &self.paths {
            pattern.mark(&resolved, is_secret);
            if resolved.len() != sent.len() {
                pattern.mark(&sent, is_secret);
            }
        }
    }
}

/// A segment without its parameters (RFC 3986 section 3.3).
fn bare(segment: &[u8]) -> &[u8] {
    segment.split(|byte| *byte == b';').next().unwrap_or_default()
}
