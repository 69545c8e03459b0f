//! What of a request decides its server where servers are chosen by hash.

use headgate_wire::RequestHead;

/// The part of a request that is hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashOn {
    /// The client's address.
    Source,
    /// The request-target: path and query, as they were sent.
    Uri,
    /// The first field of this name, in lower case.
    Header(String),
    /// The first cookie of this name.
    Cookie(String),
    /// The first query parameter of this name; neither name nor value is decoded.
    Query(String),
}

impl HashOn {
    /// As the configuration says it: `source`, `uri`, `header:NAME`, `cookie:NAME` or `query:NAME`.
    ///
    /// # Errors
    /// It is none of these; one sentence and a hint.
    pub fn parse(text: &str) -> Result<Self, String> {
        let named = text
            .split_once(':')
            .filter(|(_, name)| !name.is_empty())
            .map(|(kind, name)| (kind, name.to_owned()));
        match named {
            None if text == "source" => Ok(Self::Source),
            None if text == "uri" => Ok(Self::Uri),
            Some(("header", name)) => Ok(Self::Header(name.to_ascii_lowercase())),
            Some(("cookie", name)) => Ok(Self::Cookie(name)),
            Some(("query", name)) => Ok(Self::Query(name)),
            _ => Err(format!(
                "`{text}` is not a valid hash_on\nhint: one of `source`, `uri`, `header:NAME`, `cookie:NAME`, `query:NAME`"
            )),
        }
    }

    /// The bytes that are hashed; none if the request does not have them.
    pub fn key<'a>(&'a self, head: &'a RequestHead, source: &'a str) -> &'a [u8] {
        let found = match self {
            Self::Source => Some(source.as_bytes()),
            Self::Uri => Some(head.target()),
            Self::Header(name) => head.head.get(name.as_bytes()),
            Self::Cookie(name) => cookie(head, name.as_bytes()),
            Self::Query(name) => values_in(head.query(), b'&', name.as_bytes()).next(),
        };
        found.unwrap_or_default()
    }
}

/// The first cookie of that name.
pub(crate) fn cookie<'a>(head: &'a RequestHead, name: &'a [u8]) -> Option<&'a [u8]> {
    cookies(head, name).next()
}

/// The cookies of that name: there may be some for several paths or domains.
pub(crate) fn cookies<'a>(head: &'a RequestHead, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let fields = head.head.get_all(b"cookie");
    fields.flat_map(move |field| values_in(field, b';', name))
}

/// The values of `name=value` among pairs.
fn values_in<'a>(text: &'a [u8], between: u8, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let pairs = text.split(move |byte| *byte == between);
    pairs.filter_map(move |pair| {
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        (pair[..equals].trim_ascii() == name).then(|| pair[equals + 1..].trim_ascii())
    })
}

#[cfg(test)]
mod tests {
    use headgate_wire::{parse_request, HeadLimits, Parsed};

    use super::*;

    fn head(text: &str) -> RequestHead {
        match parse_request(text.as_bytes(), HeadLimits::default()) {
            Ok(Parsed::Complete { head, .. }) => head,
            _ => panic!("{text} is a request"),
        }
    }

    #[test]
    fn each_part_of_a_request_is_found() {
        let request = head("GET /a?x=1&user=b%20c HTTP/1.1\r\nHost: a\r\nX-User: me\r\nCookie: a=1; id=7\r\nCookie: id=8\r\n\r\n");
        for (on, key) in [
            ("source", "192.0.2.1"),
            ("uri", "/a?x=1&user=b%20c"),
            ("header:X-User", "me"),
            ("cookie:id", "7"),
            ("query:user", "b%20c"),
            ("query:absent", ""),
            ("cookie:absent", ""),
            ("header:absent", ""),
        ] {
            let on = HashOn::parse(on).expect(on);
            assert_eq!(on.key(&request, "192.0.2.1"), key.as_bytes(), "{on:?}");
        }
    }

    #[test]
    fn what_is_no_part_is_refused() {
        for text in ["", "header", "header:", "body:x", "source:x"] {
            let error = HashOn::parse(text).expect_err(text);
            assert!(error.contains("hint: "), "{error}");
        }
    }
}
