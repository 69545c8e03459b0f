//! The parts of a request that actions read.

use headgate_wire::{is_token, FieldError, RequestHead};
use serde::Deserialize;

use crate::hooks::exchange::Exchange;

/// `address`, `host`, `method`, `path`, `query`, `target`, `scheme`, `route`, or `header:NAME`.
#[derive(Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(try_from = "String")]
pub(super) enum Source {
    Address,
    Host,
    Method,
    Path,
    Query,
    Target,
    Scheme,
    Route,
    Header(Box<[u8]>),
}

/// Those that a hook can read and that no [`headgate_wire::Head`] shows.
const HIDDEN: [&str; 3] = ["host", "content-length", "upgrade"];

/// Refuses what is not the name of a field (RFC 9110 section 5.1), and one that is not read or written as others are.
pub(super) fn plain_name(name: &str) -> Result<&str, String> {
    if !is_token(name.as_bytes()) {
        return Err(FieldError::Name(name.to_owned()).to_string());
    }
    if HIDDEN.iter().any(|hidden| hidden.eq_ignore_ascii_case(name)) {
        return Err(format!("native actions cannot use the field `{name}`"));
    }
    Ok(name)
}

impl TryFrom<String> for Source {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Ok(match &*text {
            "address" => Self::Address,
            "host" => Self::Host,
            "method" => Self::Method,
            "path" => Self::Path,
            "query" => Self::Query,
            "target" => Self::Target,
            "scheme" => Self::Scheme,
            "route" => Self::Route,
            other => {
                let name = other.strip_prefix("header:").filter(|name| !name.is_empty());
                let name = name.ok_or_else(|| format!("`{other}` is not a valid part of a request"))?;
                Self::Header(plain_name(name)?.as_bytes().into())
            }
        })
    }
}

impl Source {
    /// Appends its value for a request, that of an exchange; false if it has none.
    pub(super) fn append(&self, exchange: &Exchange, request: &RequestHead, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Address => out.extend_from_slice(exchange.client.address.as_bytes()),
            Self::Scheme => out.extend_from_slice(exchange.client.scheme.as_bytes()),
            Self::Host => out.extend_from_slice(request.host()),
            Self::Method => out.extend_from_slice(request.method()),
            Self::Path => out.extend_from_slice(request.path()),
            Self::Query => out.extend_from_slice(request.query()),
            Self::Target => out.extend_from_slice(request.target()),
            Self::Route => {
                if let Some(route) = exchange.route.get() {
                    out.extend_from_slice(exchange.tables.borrow().route(route).name.as_bytes());
                }
            }
            Self::Header(name) => match request.head.get(name) {
                Some(value) => out.extend_from_slice(value),
                None => return false,
            },
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_by_name_and_others_refused() {
        let read = |text: &str| Source::try_from(text.to_owned());
        assert_eq!(read("path"), Ok(Source::Path));
        assert_eq!(read("header:x-a"), Ok(Source::Header(b"x-a".as_slice().into())));
        for text in [
            "",
            "paths",
            "header:",
            "header:Host",
            "header:content-length",
            "header:x a",
            "header:é",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
