//! The hosts that a route matches.

use std::sync::Arc;

use regex::bytes::Regex;

use crate::conditions::parse_regex;
use crate::error::PatternError;

/// A pattern for the host of a request, without port.
#[derive(Debug, Clone)]
pub enum HostPattern {
    /// Every host: `*`. A route without host patterns means the same.
    Any,
    /// One host, in lower case: `example.com`.
    Exact(String),
    /// `*.example.com` as `.example.com`: hosts below it at any depth, not `example.com` itself.
    Suffix(String),
    /// `www.*` as `www.`: hosts that start so.
    Prefix(String),
    /// `~^api[0-9]+\.example\.com$`: the regex is found in the host, whatever its case.
    Regex(Arc<Regex>),
}

impl HostPattern {
    /// Reads a pattern; a port and the dot of a fully qualified name are ignored, case does not matter.
    pub fn parse(pattern: &str) -> Result<Self, PatternError> {
        let error = |problem: &str, hint| Err(PatternError::new("host", pattern, problem, hint));
        if let Some(regex) = parse_regex("host", pattern, true)? {
            return Ok(Self::Regex(regex));
        }
        if pattern == "*" {
            return Ok(Self::Any);
        }
        let lower = pattern.to_ascii_lowercase();
        let bytes = host_without_port(lower.as_bytes());
        let host = lower[..bytes.len()].trim_end_matches('.');
        if host.is_empty() {
            return error("it is empty", "write `*` for every host");
        }
        if host.starts_with('.') {
            return error(
                "it starts with a dot",
                "list `example.com` and `*.example.com` as two hosts",
            );
        }
        let (kind, name): (fn(String) -> Self, &str) =
            match (host.strip_prefix("*."), host.strip_suffix(".*")) {
                (Some(_), _) => (Self::Suffix, &host[1..]),
                (_, Some(_)) => (Self::Prefix, &host[..host.len() - 1]),
                _ => (Self::Exact, host),
            };
        if name.contains('*') {
            return error(
                "a `*` stands only for whole labels at one end",
                "write `*.example.com`, `www.*`, or a regex: `~^a.*\\.example\\.com$`",
            );
        }
        if !name.is_ascii() {
            return error(
                "it holds letters outside ASCII",
                "write the name as clients send it: `xn--...` (IDNA)",
            );
        }
        if !name.bytes().all(is_host_byte) {
            return error(
                "it holds characters that no host name has",
                "write only the host: `example.com`, without scheme and path",
            );
        }
        Ok(kind(name.to_owned()))
    }
}

/// `host` without `:port`; an IPv6 address keeps its brackets.
pub fn host_without_port(host: &[u8]) -> &[u8] {
    match host.iter().rposition(|byte| *byte == b':') {
        Some(colon) if host[colon + 1..].iter().all(u8::is_ascii_digit) => {
            let name = &host[..colon];
            let is_whole = !name.contains(&b':') || name.ends_with(b"]");
            if is_whole {
                name
            } else {
                host
            }
        }
        _ => host,
    }
}

fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':' | b'[' | b']' | b'~' | b'%')
}

#[cfg(test)]
#[path = "tests/host_pattern.rs"]
mod tests;
