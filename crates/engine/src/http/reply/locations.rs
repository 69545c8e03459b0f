//! Targets and locations made of a request's parts.

use headgate_route::{fill_location, LocationParts};
use headgate_wire::RequestHead;

use crate::failure::{Failure, FailureKind};
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
    // a target that begins with two slashes names a host to some servers
    let slashes = stripped.iter().take_while(|byte| **byte == b'/').count();
    stripped.splice(..slashes, [b'/']);
    Some(stripped)
}

/// A request as the location of a redirect may name its parts.
pub(super) struct RequestParts<'a>(pub(super) &'a Exchange);

impl RequestParts<'_> {
    /// The location, or why there is none.
    pub(super) fn fill(&self, template: &str) -> Result<Vec<u8>, Failure> {
        let request = self.0.request.borrow();
        let parts = RedirectParts {
            exchange: self.0,
            request: &request,
        };
        fill_location(template, &parts).ok_or_else(|| Failure::from(FailureKind::RedirectWithoutHost))
    }
}

struct RedirectParts<'a> {
    exchange: &'a Exchange,
    request: &'a RequestHead,
}

impl LocationParts for RedirectParts<'_> {
    fn scheme(&self) -> &[u8] {
        self.exchange.client.scheme.as_bytes()
    }

    fn host(&self) -> &[u8] {
        self.request.host()
    }

    fn path(&self) -> &[u8] {
        self.request.path()
    }

    fn query(&self) -> &[u8] {
        self.request.query()
    }

    fn parameter(&self, name: &str) -> Option<Vec<u8>> {
        let params = self.exchange.params.borrow();
        params.raw(name).map(<[u8]>::to_vec)
    }
}
