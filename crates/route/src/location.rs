//! The location of a redirect, made of a template and a request: each value is encoded for the place it stands in.
//!
//! How it works: what a placeholder may hold depends on what is before it. In the host no value brings a separator along, in a
//! query it ends no parameter, and a location that is a path never begins with two slashes, which would name another host
//! (RFC 3986 section 4.2).

use crate::percent::{escaped_byte, push_escape};

/// What a template may name.
pub trait LocationParts {
    /// `http` or `https`.
    fn scheme(&self) -> &[u8];
    /// The host asked for, with its port if one was given; empty if there is none.
    fn host(&self) -> &[u8];
    /// The path in normal form.
    fn path(&self) -> &[u8];
    /// The query, as it came.
    fn query(&self) -> &[u8];
    /// A parameter of the path as it stands in the path: percent-encoded.
    fn parameter(&self, name: &str) -> Option<Vec<u8>>;
}

/// The part of a URL that a placeholder stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UriPart {
    Host,
    Path,
    /// Query or fragment.
    Query,
}

/// Fills a template such as `https://{host}/new/{page}?from={path}`. A name in braces that is not known stays as it is.
///
/// `None`: the template wants a host, and the request has none.
pub fn fill_location(template: &str, parts: &dyn LocationParts) -> Option<Vec<u8>> {
    let mut filled = Vec::with_capacity(template.len() + 64);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        filled.extend_from_slice(before.as_bytes());
        let Some((name, behind)) = after.split_once('}') else {
            filled.push(b'{');
            rest = after;
            continue;
        };
        fill(name, parts, &mut filled)?;
        rest = behind;
    }
    filled.extend_from_slice(rest.as_bytes());
    Some(within_the_site(template, filled))
}

fn fill(name: &str, parts: &dyn LocationParts, filled: &mut Vec<u8>) -> Option<()> {
    let place = match place(filled) {
        // a path ends the host by its own slash
        UriPart::Host if matches!(name, "path" | "target") && parts.path().starts_with(b"/") => UriPart::Path,
        place => place,
    };
    match name {
        "scheme" => filled.extend_from_slice(parts.scheme()),
        "host" if place == UriPart::Host && parts.host().is_empty() => return None,
        "host" if place == UriPart::Host => filled.extend_from_slice(parts.host()),
        "host" => encode(parts.host(), place, filled),
        "path" => encode(parts.path(), place, filled),
        "query" if place == UriPart::Query => filled.extend_from_slice(parts.query()),
        "query" => encode(parts.query(), place, filled),
        "target" => {
            encode(parts.path(), place, filled);
            if !parts.query().is_empty() {
                if place == UriPart::Path {
                    filled.push(b'?');
                    filled.extend_from_slice(parts.query());
                } else {
                    filled.extend_from_slice(b"%3F");
                    encode(parts.query(), place, filled);
                }
            }
        }
        _ => match parts.parameter(name) {
            Some(value) => encode(&value, place, filled),
            None => filled.extend_from_slice(format!("{{{name}}}").as_bytes()),
        },
    }
    Some(())
}

/// Where the next value stands.
fn place(before: &[u8]) -> UriPart {
    if before.contains(&b'?') || before.contains(&b'#') {
        return UriPart::Query;
    }
    match authority(before) {
        Some(at) if !before[at..].contains(&b'/') => UriPart::Host,
        _ => UriPart::Path,
    }
}

/// Where the host of a location begins that names one: behind `//`, or behind `://` after no other separator.
fn authority(location: &[u8]) -> Option<usize> {
    if location.starts_with(b"//") {
        return Some(2);
    }
    let separator = location.iter().position(|byte| b"/?#".contains(byte))?;
    let scheme = location[..separator].strip_suffix(b":")?;
    (!scheme.is_empty() && location[separator..].starts_with(b"//")).then_some(separator + 2)
}

/// Appends a value, of which escapes stay as they are.
fn encode(value: &[u8], place: UriPart, out: &mut Vec<u8>) {
    let stands = |byte: u8| {
        byte.is_ascii_alphanumeric()
            || b"-._~".contains(&byte)
            || match place {
                UriPart::Host => false,
                UriPart::Path => b"/:@!$&'()*+,;=".contains(&byte),
                UriPart::Query => b"/:@!$()*,".contains(&byte),
            }
    };
    for (at, &byte) in value.iter().enumerate() {
        if stands(byte) || (byte == b'%' && escaped_byte(&value[at..]).is_some()) {
            out.push(byte);
        } else {
            push_escape(byte, out);
        }
    }
}

/// Keeps a location that its template does not give to a host from naming one.
fn within_the_site(template: &str, filled: Vec<u8>) -> Vec<u8> {
    // of the values only the request's own scheme may be one
    let is_of_value = template.starts_with('{') && !template.starts_with("{scheme}://");
    if authority(template.as_bytes()).is_some() && !is_of_value {
        return filled;
    }
    let is_slash = |byte: &&u8| matches!(byte, b'/' | b'\\');
    let slashes = filled.iter().take_while(is_slash).count();
    if slashes > 1 {
        return [b"/", &filled[slashes..]].concat();
    }
    // `{rest}` at the start could bring a scheme along
    if slashes == 0 && template.starts_with('{') {
        return [b"./", filled.as_slice()].concat();
    }
    filled
}

#[cfg(test)]
#[path = "tests/location.rs"]
mod tests;
