//! Targets and locations made of a request's parts.

use crate::hooks::exchange::Exchange;
use crate::tables::Route;

/// The path without the route's prefix, or with another; `None` if the route leaves it alone.
pub(crate) fn stripped_path(path: &[u8], route: &Route) -> Option<Vec<u8>> {
    if route.strip_prefix.is_none() && route.replace_prefix.is_none() {
        return None;
    }
    // what was matched, so that another spelling cannot dodge the prefix
    let path = headgate_route::normalize_path(path).ok()?;
    let prefix = route
        .strip_prefix
        .as_deref()
        .unwrap_or("")
        .trim_end_matches('/')
        .as_bytes();
    let rest = match path.strip_prefix(prefix) {
        Some(rest) if rest.is_empty() || rest.starts_with(b"/") => rest,
        _ => &path,
    };
    let begin = route
        .replace_prefix
        .as_deref()
        .unwrap_or("")
        .trim_end_matches('/');
    let mut stripped = begin.as_bytes().to_vec();
    stripped.extend_from_slice(rest);
    if !stripped.starts_with(b"/") {
        stripped.insert(0, b'/');
    }
    Some(stripped)
}

/// Fills in what a redirect's location names in braces.
pub(super) fn fill_in(location: &str, exchange: &Exchange) -> String {
    let request = exchange.request.borrow();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut filled = String::with_capacity(location.len() + 64);
    let mut rest = location;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let Some((name, after)) = after.split_once('}') else {
            filled.push('{');
            rest = after;
            continue;
        };
        match name {
            "scheme" => filled.push_str(exchange.client.scheme),
            "host" => filled.push_str(&text(request.host())),
            "path" => filled.push_str(&text(request.path())),
            "query" => filled.push_str(&text(request.query())),
            "target" => filled.push_str(&text(request.target())),
            name => {
                let params = exchange.params.borrow();
                let value = params.get(name).map_or_else(|| format!("{{{name}}}"), escape);
                filled.push_str(&value);
            }
        }
        rest = after;
    }
    filled.push_str(rest);
    filled
}

/// A parameter's value for use in a path: whatever could end or split the location is escaped.
fn escape(value: &[u8]) -> String {
    let mut escaped = String::with_capacity(value.len());
    for byte in value {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(byte) {
            escaped.push(char::from(*byte));
        } else {
            escaped.push('%');
            escaped.push(char::from(b"0123456789ABCDEF"[usize::from(byte >> 4)]));
            escaped.push(char::from(b"0123456789ABCDEF"[usize::from(byte & 15)]));
        }
    }
    escaped
}
