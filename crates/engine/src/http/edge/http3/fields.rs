//! Requests' field sections as the types of the crate `http`.
//!
//! # How it works
//! Checked here is what `h2` checks for HTTP/2: pseudo fields are known, come first and once, and those that must be there
//! are (RFC 9114 section 4.3); names are in lower case. The rest is the translation's ([`crate::http::edge`]).

use headgate_upstream::http3::fields::{append, Unusable};
use headgate_upstream::http3::frames::Wrong;
use headgate_wire::http3::decode_section;
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, Request, Uri};

/// What an extended CONNECT asks for (RFC 9220), among a request's extensions; the translation judges it.
#[derive(Clone)]
pub(super) struct Protocol(pub(super) Box<[u8]>);

#[derive(Default)]
struct Pseudo {
    method: Option<Method>,
    scheme: Option<Scheme>,
    authority: Option<Authority>,
    path: Option<PathAndQuery>,
    protocol: Option<Protocol>,
}

/// The request that a section says. `most`: what it may come to, decoded.
pub(super) fn request(section: &[u8], most: usize) -> Result<Parts, Unusable> {
    let mut pseudo = Pseudo::default();
    let mut fields = HeaderMap::new();
    let mut wrong = None;
    decode_section(section, most, |name, value| {
        if wrong.is_none() {
            wrong = take(&mut pseudo, &mut fields, name, value).err();
        }
    })?;
    if let Some(what) = wrong {
        return Err(Wrong::message(what).into());
    }
    Ok(parts(pseudo, fields).map_err(Wrong::message)?)
}

fn take(pseudo: &mut Pseudo, fields: &mut HeaderMap, name: &[u8], value: &[u8]) -> Result<(), &'static str> {
    if name.first() != Some(&b':') {
        return append(fields, name, value);
    }
    if !fields.is_empty() {
        return Err("a pseudo field behind others");
    }
    match name {
        b":method" => once(&mut pseudo.method, Method::from_bytes(value).ok()),
        b":scheme" => once(&mut pseudo.scheme, Scheme::try_from(value).ok()),
        b":authority" => once(&mut pseudo.authority, Authority::try_from(value).ok()),
        b":path" => {
            // a fragment is never sent (RFC 3986 section 4.3), and the type of paths would cut it off
            let is_path = (value.first() == Some(&b'/') || value == b"*") && !value.contains(&b'#');
            once(
                &mut pseudo.path,
                PathAndQuery::try_from(value).ok().filter(|_| is_path),
            )
        }
        b":protocol" => once(&mut pseudo.protocol, Some(Protocol(value.into()))),
        _ => Err("a pseudo field that is not one of requests"),
    }
}

fn once<T>(place: &mut Option<T>, value: Option<T>) -> Result<(), &'static str> {
    if place.is_some() {
        return Err("a repeated pseudo field");
    }
    *place = Some(value.ok_or("a pseudo field with an invalid value")?);
    Ok(())
}

fn parts(pseudo: Pseudo, fields: HeaderMap) -> Result<Parts, &'static str> {
    let method = pseudo.method.ok_or("no :method")?;
    let mut uri = http::uri::Parts::default();
    let is_plain_connect = method == Method::CONNECT && pseudo.protocol.is_none();
    if pseudo.protocol.is_some() && method != Method::CONNECT {
        return Err("a :protocol without CONNECT");
    }
    if is_plain_connect {
        if pseudo.scheme.is_some() || pseudo.path.is_some() || pseudo.authority.is_none() {
            return Err("a CONNECT has an :authority, and neither :scheme nor :path");
        }
    } else {
        uri.path_and_query = Some(pseudo.path.ok_or("no :path")?);
        // one without an authority is not an address; the translation takes the scheme from the connection
        let scheme = pseudo.scheme.ok_or("no :scheme")?;
        uri.scheme = pseudo.authority.is_some().then_some(scheme);
    }
    uri.authority = pseudo.authority;
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = method;
    parts.uri = Uri::from_parts(uri).map_err(|_| "an invalid address")?;
    parts.headers = fields;
    if let Some(protocol) = pseudo.protocol {
        parts.extensions.insert(protocol);
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use headgate_upstream::http3::fields::trailers;
    use headgate_wire::http3::{code, write_field, write_section_prefix};

    use super::*;

    fn section(fields: &[(&str, &str)]) -> Vec<u8> {
        let mut out = Vec::new();
        write_section_prefix(&mut out);
        for (name, value) in fields {
            write_field(name.as_bytes(), value.as_bytes(), &mut out);
        }
        out
    }

    const GET: [(&str, &str); 4] = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "a.test"),
        (":path", "/p?q"),
    ];

    #[test]
    fn requests_are_read() {
        let parts =
            request(&section(&[&GET[..], &[("x-a", "1")]].concat()), 1000).expect("it is well-formed");
        assert_eq!(parts.uri, "https://a.test/p?q");
        assert_eq!(parts.headers["x-a"], "1");
    }

    #[test]
    fn malformed_requests_are_refused() {
        let without = |name: &str| {
            GET.into_iter()
                .filter(|(one, _)| *one != name)
                .collect::<Vec<_>>()
        };
        let with = |field: (&'static str, &'static str)| [&GET[..], &[field]].concat();
        let malformed = [
            without(":method"),
            without(":scheme"),
            without(":path"),
            with((":path", "/other")),
            with((":status", "200")),
            with((":unknown", "1")),
            with(("X-Upper", "1")),
            with(("", "1")),
            with(("x-a", "a\nb")),
            with((":protocol", "websocket")),
            [&[("x-a", "1")], &GET[..]].concat(),
            [&without(":path")[..], &[(":path", "p")]].concat(),
            [&without(":path")[..], &[(":path", "")]].concat(),
            [&without(":authority")[..], &[(":authority", "")]].concat(),
            vec![(":method", "CONNECT"), (":authority", "a:1"), (":path", "/")],
            vec![(":method", "CONNECT")],
        ];
        for fields in malformed {
            let refused = request(&section(&fields), 1000).expect_err("it is malformed");
            assert!(
                matches!(refused, Unusable::Wrong(Wrong::Stream(code::MESSAGE_ERROR, _))),
                "{fields:?}: {refused:?}"
            );
        }
    }

    #[test]
    fn trailers_have_no_pseudo_fields() {
        assert!(trailers(&section(&[("x-sum", "1")]), 1000).is_ok());
        assert!(trailers(&section(&[(":path", "/")]), 1000).is_err());
        assert_eq!(trailers(&section(&[("x-sum", "1")]), 10), Err(Unusable::TooLarge));
    }
}
