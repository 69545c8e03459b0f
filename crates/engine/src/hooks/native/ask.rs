//! Actions that only look, and leave some requests to the hook.

use headgate_wire::{is_token, Framing, RequestHead};
use serde::Deserialize;

use super::source::plain_name;
use crate::hooks::exchange::Exchange;

/// Leaves requests to the hook for which all holds that is said.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AskIf {
    /// The method is one of these.
    #[serde(default)]
    methods: Option<Vec<MethodName>>,
    /// The method is none of these.
    #[serde(default)]
    other_methods: Option<Vec<MethodName>>,
    /// All these fields are there.
    #[serde(default)]
    fields: Vec<FieldName>,
}

/// The name of a field that hooks and actions see alike.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct FieldName(pub(super) String);

impl TryFrom<String> for FieldName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        plain_name(&name)?;
        Ok(Self(name))
    }
}

/// A method (RFC 9110 section 9.1).
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct MethodName(String);

impl TryFrom<String> for MethodName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        if !is_token(name.as_bytes()) {
            return Err(format!("`{name}` is not a valid method; hint: write `GET`"));
        }
        Ok(Self(name))
    }
}

impl AskIf {
    pub(super) fn run(&self, exchange: &Exchange) -> bool {
        !self.holds(&exchange.request.borrow())
    }

    fn holds(&self, request: &RequestHead) -> bool {
        let is_among =
            |methods: &[MethodName]| methods.iter().any(|one| one.0.as_bytes() == request.method());
        self.methods.as_deref().is_none_or(is_among)
            && !self.other_methods.as_deref().is_some_and(is_among)
            && self
                .fields
                .iter()
                .all(|name| request.head.get(name.0.as_bytes()).is_some())
    }
}

/// Leaves requests to the hook that may be larger than is said.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AskBeyond {
    /// Bytes of path and query.
    #[serde(default)]
    target: Option<usize>,
    /// Parameters of the query.
    #[serde(default)]
    query_params: Option<usize>,
    /// Bytes of all fields, names and line ends included.
    #[serde(default)]
    header_bytes: Option<usize>,
    /// Lines of fields.
    #[serde(default)]
    header_fields: Option<usize>,
    /// Bytes of a body whose length is told.
    #[serde(default)]
    body: Option<u64>,
    /// Whether methods that send a body need its length.
    #[serde(default)]
    require_length: bool,
}

impl AskBeyond {
    pub(super) fn run(&self, exchange: &Exchange) -> bool {
        self.fits(&exchange.request.borrow())
    }

    fn fits(&self, request: &RequestHead) -> bool {
        let fields = || request.head.iter();
        let bytes = || {
            fields()
                .map(|(name, value)| name.len() + value.len() + 4)
                .sum::<usize>()
        };
        let length = match request.framing {
            Framing::Length(length) => Some(length),
            _ => None,
        };
        self.target.is_none_or(|most| request.target().len() <= most)
            && self
                .query_params
                .is_none_or(|most| has_at_most(request.query(), most))
            && self.header_fields.is_none_or(|most| fields().count() <= most)
            && self.header_bytes.is_none_or(|most| bytes() <= most)
            && self
                .body
                .is_none_or(|most| length.is_none_or(|length| length <= most))
            && !(self.require_length && length.is_none() && is_with_body(request.method()))
    }
}

fn has_at_most(query: &[u8], most: usize) -> bool {
    query.is_empty() || memchr::memchr_iter(b'&', query).count() < most
}

fn is_with_body(method: &[u8]) -> bool {
    matches!(method, b"POST" | b"PUT" | b"PATCH")
}

#[cfg(test)]
mod tests {
    use super::*;
    use headgate_wire::{parse_request, HeadLimits, Parsed};

    fn request(text: &str) -> RequestHead {
        let limits = HeadLimits {
            max_bytes: 10_000,
            max_fields: 100,
            lenient: headgate_wire::Lenient::default(),
        };
        match parse_request(text.as_bytes(), limits) {
            Ok(Parsed::Complete { head, .. }) => head,
            _ => panic!("it is a request"),
        }
    }

    #[test]
    fn all_that_is_said_must_hold() {
        let preflight: AskIf =
            serde_json::from_str(r#"{"methods": ["OPTIONS"], "fields": ["Origin"]}"#).unwrap();
        assert!(preflight.holds(&request("OPTIONS / HTTP/1.1\r\nHost: a\r\norigin: b\r\n\r\n")));
        assert!(!preflight.holds(&request("OPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n")));
        assert!(!preflight.holds(&request("GET / HTTP/1.1\r\nHost: a\r\norigin: b\r\n\r\n")));
        let unsafe_methods: AskIf = serde_json::from_str(r#"{"other_methods": ["GET", "HEAD"]}"#).unwrap();
        assert!(unsafe_methods.holds(&request("POST / HTTP/1.1\r\nHost: a\r\n\r\n")));
        assert!(!unsafe_methods.holds(&request("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")));
    }

    #[test]
    fn names_that_nothing_can_have_are_refused() {
        for wrong in [
            r#"{"methods": ["GE T"]}"#,
            r#"{"other_methods": [""]}"#,
            r#"{"fields": ["x a"]}"#,
        ] {
            let error = serde_json::from_str::<AskIf>(wrong).err().expect("wrong");
            assert!(error.to_string().contains("; hint: "), "{wrong}: {error}");
        }
    }

    #[test]
    fn what_may_be_too_large_is_asked_for() {
        let fits = |bounds: &str, text: &str| {
            let bounds: AskBeyond = serde_json::from_str(bounds).unwrap();
            bounds.fits(&request(text))
        };
        let get = "GET /a?b=1&c=2 HTTP/1.1\r\nHost: a\r\nx-a: b\r\n\r\n";
        for (bounds, is_fit) in [
            (r#"{"target": 10}"#, true),
            (r#"{"target": 9}"#, false),
            (r#"{"query_params": 2}"#, true),
            (r#"{"query_params": 1}"#, false),
            (r#"{"query_params": 0}"#, false),
            (r#"{"header_fields": 1, "header_bytes": 8}"#, true),
            (r#"{"header_fields": 0}"#, false),
            (r#"{"header_bytes": 7}"#, false),
            (r#"{"body": 0, "require_length": true}"#, true),
        ] {
            assert_eq!(fits(bounds, get), is_fit, "{bounds}");
        }
        let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
        assert!(fits(
            r#"{"body": 5, "require_length": true, "query_params": 0}"#,
            post
        ));
        assert!(!fits(r#"{"body": 4}"#, post));
        let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(!fits(r#"{"require_length": true}"#, chunked));
        assert!(fits(r#"{"body": 0}"#, chunked));
    }
}
