//! Secrets in targets and URLs, such as API keys, that nothing that is written may show: values by the names of their
//! parameters, users, and segments of paths.
//!
//! # How it works
//! What is to be masked is found as ranges of the text, from its begin to its end; a text without any is not copied. Whoever
//! chooses the text may choose another spelling, so names and segments are compared as some server may read them: decoded,
//! with dot segments or without, whatever their case.

mod path;

use std::borrow::Cow;
use std::ops::Range;

use smallvec::SmallVec;

use crate::percent::percent_decode;
use path::Pattern;

/// What stands in place of a secret.
const MASK: &[u8] = b"***";

/// So many times is percent-encoding undone: each of several servers in a row may undo it once.
const MOST_DECODED: usize = 4;

/// Where secrets stand in a text, in order.
type Secrets = SmallVec<[Range<usize>; 4]>;

/// What is masked: values of parameters with some names, and segments of some paths.
#[derive(Debug, Default)]
pub struct TargetMask {
    /// In lower case.
    names: Box<[Box<str>]>,
    paths: Box<[Pattern]>,
    has_looks: bool,
}

impl TargetMask {
    /// Masks values of parameters with these names, and segments of these paths: `/reset/{token}` those in braces,
    /// `/unsubscribe/*` all that follow. With `looks`, segments that are addresses of mail or JWT are masked in all paths.
    pub fn new(names: &[String], paths: &[String], looks: bool) -> Self {
        Self {
            names: names.iter().map(|name| name.to_lowercase().into()).collect(),
            paths: paths.iter().map(|path| Pattern::parse(path)).collect(),
            has_looks: looks,
        }
    }

    /// A target or a URL with its secrets masked; the same bytes where there are none.
    pub fn apply<'a>(&self, target: &'a [u8]) -> Cow<'a, [u8]> {
        let looks_at_segments = self.has_looks || !self.paths.is_empty();
        let has_pairs = || memchr::memchr2(b'=', b'@', target).is_some();
        if !looks_at_segments && (self.names.is_empty() || !has_pairs()) {
            return Cow::Borrowed(target);
        }
        let mut found = Secrets::new();
        let fragment = memchr::memchr(b'#', target).unwrap_or(target.len());
        let query = memchr::memchr(b'?', &target[..fragment]).unwrap_or(fragment);
        self.find_in_path(&target[..query], &mut found);
        self.find_in_query(target, query + 1..fragment, &mut found);
        // a page's script may have a target of its own there
        let inner = memchr::memchr(b'?', &target[fragment..]).map_or(target.len(), |at| fragment + at);
        self.find_in_query(target, fragment + 1..inner, &mut found);
        self.find_in_query(target, inner + 1..target.len(), &mut found);
        masked(target, &found)
    }

    /// A query, or the body of a form, with its secrets masked.
    pub fn apply_to_query<'a>(&self, query: &'a [u8]) -> Cow<'a, [u8]> {
        let mut found = Secrets::new();
        self.find_in_query(query, 0..query.len(), &mut found);
        masked(query, &found)
    }

    /// Whether secrets have this name, or one that it has in it: `user[password]`, `login.password`.
    pub fn has_name(&self, name: &[u8]) -> bool {
        let is_bracket = |byte: &u8| matches!(byte, b'[' | b']' | b'.');
        self.has_whole(name)
            || name.iter().any(is_bracket) && name.split(is_bracket).any(|part| self.has_whole(part))
    }

    fn has_whole(&self, name: &[u8]) -> bool {
        match std::str::from_utf8(name) {
            Ok(text) if !text.is_ascii() => {
                let folded = text.to_lowercase();
                self.names.iter().any(|known| **known == *folded)
            }
            _ => (self.names.iter()).any(|known| known.as_bytes().eq_ignore_ascii_case(name)),
        }
    }

    /// Values in a part of a text that is a query; the range may be past the end.
    fn find_in_query(&self, text: &[u8], range: Range<usize>, found: &mut Secrets) {
        let Some(query) = text.get(range.clone()) else {
            return;
        };
        let mut at = range.start;
        for pair in query.split(|byte| *byte == b'&') {
            self.find_in_pair(pair, at, found);
            at += pair.len() + 1;
        }
    }

    /// The value of a pair that begins there. Some servers take `;` for `&`: from the first secret on nothing is left.
    fn find_in_pair(&self, pair: &[u8], begin: usize, found: &mut Secrets) {
        let mut at = 0;
        for part in pair.split(|byte| *byte == b';') {
            if let Some(length) = memchr::memchr(b'=', part) {
                let name = decoded(&part[..length]);
                let is_around = |byte: &u8| byte.is_ascii_whitespace() || *byte == b'+';
                let begins = name.iter().take_while(|byte| is_around(byte)).count();
                let ends = name[begins..]
                    .iter()
                    .rev()
                    .take_while(|byte| is_around(byte))
                    .count();
                if self.has_name(&name[begins..name.len() - ends]) {
                    found.push(begin + at + length + 1..begin + pair.len());
                    return;
                }
            }
            at += part.len() + 1;
        }
    }
}

/// A text with other bytes in place of the secrets.
fn masked<'a>(text: &'a [u8], secrets: &[Range<usize>]) -> Cow<'a, [u8]> {
    if secrets.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut made = Vec::with_capacity(text.len() + secrets.len() * MASK.len());
    let mut at = 0;
    for secret in secrets {
        made.extend_from_slice(&text[at..secret.start]);
        made.extend_from_slice(MASK);
        at = secret.end;
    }
    made.extend_from_slice(&text[at..]);
    Cow::Owned(made)
}

/// A text without percent-encoding, however often that was put on.
fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
    let mut plain = percent_decode(text);
    for _ in 1..MOST_DECODED {
        if memchr::memchr(b'%', &plain).is_none() {
            break;
        }
        plain = Cow::Owned(percent_decode(&plain).into_owned());
    }
    plain
}

#[cfg(test)]
#[path = "../tests/mask.rs"]
mod tests;
