//! The paths that a route matches.

use std::sync::Arc;

use regex::bytes::Regex;

use crate::conditions::parse_regex;
use crate::error::PatternError;
use crate::normalise::normalize_path;
use crate::params::Params;
use crate::template::Template;

/// A pattern for the path of a request, matched against its normal form (see [`crate::normalize_path`]).
#[derive(Debug, Clone)]
pub enum PathPattern {
    /// Every path, and `*` of `OPTIONS *`: `/` or `/*`.
    Any,
    /// One path: `/status`, or `=/status` where the text holds `{` or `*` or is `/`.
    Exact(String),
    /// `/api/*` as `/api/`: all below it and `/api` itself; `/img*` as `/img`: all that starts so.
    Prefix(String),
    /// `/api/{version}/*`: parameters of one segment, and perhaps the rest.
    Template(Template),
    /// `~^/v[0-9]+/`: the regex is found in the path; its named groups are parameters.
    Regex(Arc<Regex>),
}

impl PathPattern {
    /// Reads a pattern.
    ///
    /// `/` and `/*` everything; `/x` exactly that path; `=/x` the same without special characters; `/x/*` a prefix;
    /// `{name}` one segment or a part of one; `/{name:path}` or `/*` at the end the rest; `~regex`, `~*regex` without
    /// regard to case. Text may be given decoded or percent-encoded.
    pub fn parse(pattern: &str) -> Result<Self, PatternError> {
        let error = |problem: &str, hint| Err(PatternError::new("path", pattern, problem, hint));
        if let Some(regex) = parse_regex("path", pattern, false)? {
            return Ok(Self::Regex(regex));
        }
        if let Some(exact) = pattern.strip_prefix('=') {
            return Ok(Self::Exact(whole(pattern, exact.trim_start())?));
        }
        if pattern == "/" || pattern == "/*" || pattern == "*" {
            return Ok(Self::Any);
        }
        if pattern.starts_with("^~") {
            return error("`^~` is not known", "a prefix is written `/api/*`");
        }
        if !pattern.starts_with('/') {
            return error(
                "it does not start with `/`",
                "write `/api/*`, `=/api` or `~regex`",
            );
        }
        if pattern.contains(['?', '#']) {
            return error(
                "it holds a query or a fragment",
                "match the query with the route's `query`; write a literal `?` as `%3F`",
            );
        }
        if pattern.contains(['{', '}']) {
            return Template::parse(pattern).map(Self::Template);
        }
        let (text, is_prefix) = match pattern.strip_suffix('*') {
            Some(text) => (text, true),
            None => (pattern, false),
        };
        if text.contains('*') {
            return error(
                "a `*` stands only at the end",
                "take one segment with `{name}`: `/api/{version}/users`",
            );
        }
        let kind = if is_prefix { Self::Prefix } else { Self::Exact };
        Ok(kind(whole(pattern, text)?))
    }

    /// Names of the parameters that this pattern takes out of a path.
    pub fn names(&self) -> Vec<String> {
        match self {
            Self::Template(template) => template.names().to_vec(),
            Self::Regex(regex) => regex.capture_names().flatten().map(str::to_owned).collect(),
            _ => Vec::new(),
        }
    }

    /// Takes the values of `names()` out of a path that this pattern matches.
    pub(crate) fn capture(&self, path: &[u8], params: &mut Params) {
        match self {
            Self::Template(template) => template.capture(path, params),
            Self::Regex(regex) => {
                let Some(groups) = regex.captures(path) else {
                    return;
                };
                for (at, name) in regex.capture_names().flatten().enumerate() {
                    if let Some(group) = groups.name(name) {
                        params.push(at, group.as_bytes());
                    }
                }
            }
            _ => {}
        }
    }
}

/// A literal path in the spelling that paths are matched in.
fn whole(pattern: &str, text: &str) -> Result<String, PatternError> {
    let hint = "write the path as clients should send it: `/api`, without `..`; a literal `%` is `%25`";
    let error = |problem: String| PatternError::new("path", pattern, problem, hint);
    let normal = normalize_path(text.as_bytes()).map_err(|cause| error(cause.to_string()))?;
    String::from_utf8(normal.into_owned()).map_err(|cause| error(cause.to_string()))
}

#[cfg(test)]
#[path = "tests/path_pattern.rs"]
mod tests;
