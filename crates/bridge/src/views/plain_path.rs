//! Paths that hooks make, often of what a client sent: only what servers understand in one way is sent.

use std::borrow::Cow;

use headgate_route::PathRules;
use pyo3::exceptions::PyValueError;
use pyo3::PyResult;

/// A path that a hook gives, without what servers understand differently: dot segments are resolved, and a backslash is escaped.
/// What clients may not send (RFC 3986: a `%` that begins no escape, dot segments behind `%2F`) is refused here, too.
pub(crate) fn plain_path(path: &[u8]) -> PyResult<Cow<'_, [u8]>> {
    if path.first() != Some(&b'/') {
        return Ok(Cow::Borrowed(path)); // `*`, and what is refused as a target
    }
    let normal = PathRules::default().normalize(path).map_err(|error| {
        PyValueError::new_err(format!(
            "`{}` cannot be sent: {error}; hint: percent-encode what is not part of the path, with `urllib.parse.quote`",
            String::from_utf8_lossy(&path[..path.len().min(80)])
        ))
    })?;
    Ok(if normal.is_equivalent {
        Cow::Borrowed(path)
    } else {
        normal.text
    })
}
