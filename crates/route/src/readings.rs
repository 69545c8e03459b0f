//! The other paths that servers find in a path: what is one name to the router may be two to a server.
//!
//! How it works: servers differ in four things. They decode `%2F` (nginx, Apache with `AllowEncodedSlashes`, Python) and
//! `%5C` (servers on Windows), cut off `;parameters` of segments (Tomcat, Jetty), merge `//` (nginx, Apache), or take what
//! follows a leading `//` for a host (whoever resolves the target as a reference: `new URL(request.url, base)`). A path is
//! read here as the most lenient of them would. If that leads to another rule than the router found, it is the caller's to
//! refuse the request, for the rule would not hold for what the server understands.

use smallvec::SmallVec;

use crate::normalise::{merge_slashes, slash_end};

/// The other paths in `path`, which is in normal form (see [`crate::PathRules`]); mostly none.
pub fn other_readings(path: &[u8]) -> SmallVec<[Vec<u8>; 2]> {
    let mut found = SmallVec::new();
    if !path.starts_with(b"/") {
        return found;
    }
    let mut add = |reading: Vec<u8>| {
        if reading != path && !found.contains(&reading) {
            found.push(reading);
        }
    };
    add(read_leniently(path));
    if let Some(behind_host) = path.strip_prefix(b"//") {
        let host_end = behind_host.iter().position(|byte| *byte == b'/');
        add(host_end.map_or_else(|| b"/".to_vec(), |end| read_leniently(&behind_host[end..])));
    }
    found
}

/// Slashes decoded and merged, parameters cut off.
fn read_leniently(path: &[u8]) -> Vec<u8> {
    let mut read = Vec::with_capacity(path.len());
    let mut rest = path;
    loop {
        let (end, slash) = slash_end(rest);
        let segment = rest[..end].split(|byte| *byte == b';').next().unwrap_or_default();
        read.extend_from_slice(segment);
        if slash == 0 {
            return merge_slashes(&read);
        }
        read.push(b'/');
        rest = &rest[end + slash..];
    }
}

#[cfg(test)]
#[path = "tests/readings.rs"]
mod tests;
