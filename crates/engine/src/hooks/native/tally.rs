//! What requests there are, counted by shape for a plugin, which looks at them now and then.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::shape::{path_shape, query_shape};
use super::time::{unix_seconds, whole};

/// Different calls that are kept until they are taken.
const MOST: usize = 2_000;
/// Longer paths are not kept, and longer queries are none, in bytes.
const LONGEST: usize = 2_048;
/// Longer types are none, in bytes.
const LONGEST_TYPE: usize = 130;

/// Counts of calls.
#[derive(Default)]
pub struct Tally {
    calls: Mutex<HashMap<Box<[u8]>, Seen>>,
}

/// A request and its response, as far as it is counted.
pub struct Call<'a> {
    /// Path and query.
    pub target: &'a [u8],
    /// Its method.
    pub method: &'a [u8],
    /// The status of the response.
    pub status: u16,
    /// The types of both bodies, as their fields say.
    pub types: [Option<&'a [u8]>; 2],
    /// Whether there were no credentials.
    pub is_anonymous: bool,
}

/// Calls of one shape.
pub struct Seen {
    /// The first one's path and query.
    pub target: Vec<u8>,
    /// Their method.
    pub method: Vec<u8>,
    /// Their status.
    pub status: u16,
    /// Their types, empty for none.
    pub types: [Vec<u8>; 2],
    /// Whether they had no credentials.
    pub is_anonymous: bool,
    /// How many there were.
    pub count: u64,
    /// Seconds since 1970 of the first one and the last.
    pub first: u64,
    /// See `first`.
    pub last: u64,
}

impl Tally {
    /// Counts a call; false if there is no room for it.
    pub fn add(&self, call: &Call<'_>) -> bool {
        self.add_at(call, whole(unix_seconds()))
    }

    fn add_at(&self, call: &Call<'_>, now: u64) -> bool {
        let place = memchr::memchr2(b'?', b'#', call.target).unwrap_or(call.target.len());
        let (path, rest) = call.target.split_at(place);
        if path.len() > LONGEST {
            return false;
        }
        let query = rest
            .strip_prefix(b"?")
            .and_then(|rest| rest.split(|byte| *byte == b'#').next())
            .filter(|query| query.len() <= LONGEST);
        let query = query.unwrap_or_default();
        let mut shape = Vec::with_capacity(128);
        path_shape(path, &mut shape);
        shape.push(b'?');
        query_shape(query, &mut shape);
        shape.push(0);
        shape.extend_from_slice(call.method);
        for kind in call.types {
            shape.push(0);
            append_type(kind, &mut shape);
        }
        shape.extend_from_slice(&call.status.to_le_bytes());
        shape.push(u8::from(call.is_anonymous));
        let mut calls = self.calls();
        if let Some(seen) = calls.get_mut(&*shape) {
            seen.count += 1;
            seen.last = now;
            return true;
        }
        if calls.len() >= MOST {
            return false;
        }
        let target = if query.is_empty() {
            path.to_vec()
        } else {
            [path, b"?", query].concat()
        };
        let types = call.types.map(|kind| {
            let mut text = Vec::new();
            append_type(kind, &mut text);
            text
        });
        let seen = Seen {
            target,
            method: call.method.to_vec(),
            status: call.status,
            types,
            is_anonymous: call.is_anonymous,
            count: 1,
            first: now,
            last: now,
        };
        calls.insert(shape.into_boxed_slice(), seen);
        true
    }

    /// All that was counted; counting begins anew.
    pub fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.calls()).into_values().collect()
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<Box<[u8]>, Seen>> {
        // a map is whole after whatever panicked
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Appends a type in lower case, without its parameters.
fn append_type(kind: Option<&[u8]>, out: &mut Vec<u8>) {
    let kind = kind.unwrap_or_default().split(|byte| *byte == b';').next();
    let kind = kind.unwrap_or_default().trim_ascii();
    if kind.len() <= LONGEST_TYPE {
        out.extend(kind.iter().map(u8::to_ascii_lowercase));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call<'a>(target: &'a str, kind: &'a str) -> Call<'a> {
        Call {
            target: target.as_bytes(),
            method: b"GET",
            status: 200,
            types: [None, Some(kind.as_bytes())],
            is_anonymous: true,
        }
    }

    #[test]
    fn calls_of_one_shape_are_one_entry() {
        let tally = Tally::default();
        for (at, target, kind) in [
            (5, "/users/1?x=1", "Text/Plain; charset=utf-8"),
            (6, "/users/2?x=22", "text/plain"),
            (9, "/users/3?x=3#f", "text/plain ;a=b"),
            (9, "/users", "text/plain"),
        ] {
            assert!(tally.add_at(&call(target, kind), at));
        }
        let mut seen = tally.take();
        seen.sort_by_key(|seen| seen.count);
        let told: Vec<_> = seen
            .iter()
            .map(|seen| (&*seen.target, seen.count, seen.first, seen.last, &*seen.types[1]))
            .collect();
        assert_eq!(
            told,
            [
                (b"/users".as_slice(), 1, 9, 9, b"text/plain".as_slice()),
                (b"/users/1?x=1".as_slice(), 3, 5, 9, b"text/plain".as_slice())
            ]
        );
        assert!(tally.take().is_empty());
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let tally = Tally::default();
        for number in 0..MOST {
            assert!(tally.add(&call(&format!("/a{number}"), "")));
        }
        assert!(!tally.add(&call("/other", "")) && tally.add(&call("/a1", "")));
        tally.take();
        assert!(!tally.add(&call(&format!("/{}", "a".repeat(LONGEST)), "")));
        assert!(tally.add(&call(&format!("/a?{}", "a".repeat(LONGEST + 1)), "")));
        assert_eq!(tally.take()[0].target, b"/a");
    }
}
