//! What a redirect makes of a request (RFC 9110 section 15.4).

use headgate_wire::ResponseHead;
use url::{Position, Url};

use super::error::{FetchError, FetchErrorKind};
use super::origins::parse;
use super::{FetchBody, FetchRequest, FetchTo};

/// Fields that are not sent to another origin than the one they were meant for.
const SECRETS: [&[u8]; 4] = [b"authorization", b"proxy-authorization", b"cookie", b"x-api-key"];

/// Changes the request into the one that the response redirects to; false if it is not a redirect, or none to follow.
///
/// An upstream's and the own routes' responses are followed within them only: a location elsewhere is given to the caller.
pub(super) fn follow(
    request: &mut FetchRequest,
    response: &ResponseHead,
    from: &str,
) -> Result<bool, FetchError> {
    if !matches!(response.status, 301 | 302 | 303 | 307 | 308) {
        return Ok(false);
    }
    let Some(location) = response
        .head
        .get(b"location")
        .and_then(|value| std::str::from_utf8(value).ok())
    else {
        return Ok(false);
    };
    let changes_method = match response.status {
        303 => request.method != b"HEAD" && request.method != b"GET",
        301 | 302 => request.method == b"POST",
        _ => false,
    };
    if !changes_method && matches!(request.body, FetchBody::Stream(_) | FetchBody::Spent) {
        return Ok(false);
    }
    if !redirect_target(request, location, from)? {
        return Ok(false);
    }
    if changes_method {
        request.method = b"GET".to_vec();
        request.body = FetchBody::None;
        let of_body = |name: &[u8]| name.len() > 8 && name[..8].eq_ignore_ascii_case(b"content-");
        let names: Vec<Vec<u8>> = request.headers.iter().map(|(name, _)| name.to_vec()).collect();
        for name in names.iter().filter(|name| of_body(name)) {
            request.headers.remove(name);
        }
    }
    Ok(true)
}

fn redirect_target(request: &mut FetchRequest, location: &str, from: &str) -> Result<bool, FetchError> {
    let bad = |error: url::ParseError| {
        FetchError::new(
            FetchErrorKind::Redirect,
            format!("the server redirects to the bad URL `{location}`: {error}"),
        )
    };
    if !matches!(request.to, FetchTo::Url(_)) {
        // any base will do to resolve a path; what leaves it is not followed
        let base = Url::parse("http://own.invalid").map_err(bad)?;
        let url = base.join(from).map_err(bad)?.join(location).map_err(bad)?;
        if url[..Position::BeforePath] != base[..Position::BeforePath] {
            return Ok(false);
        }
        let next = url[Position::BeforePath..Position::AfterQuery]
            .as_bytes()
            .to_vec();
        match &mut request.to {
            FetchTo::Upstream(_, target) | FetchTo::Own(_, target) => *target = next,
            FetchTo::Url(_) => {}
        }
        return Ok(true);
    }
    let old = Url::parse(from).map_err(bad)?;
    let url = parse(old.join(location).map_err(bad)?.as_str())?;
    if old.scheme() == "https" && url.scheme() == "http" {
        let message = format!(
            "the server redirects from https to `{}`, which is not followed",
            &url[..Position::BeforePath]
        );
        return Err(FetchError::new(FetchErrorKind::Redirect, message));
    }
    if url[..Position::BeforePath] != old[..Position::BeforePath] {
        for name in SECRETS {
            request.headers.remove(name);
        }
        request.host = None;
    }
    request.to = FetchTo::Url(url.into());
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use headgate_wire::{parse_response, Head, HeadLimits, Lenient, Parsed};

    fn request(method: &str, url: &str) -> FetchRequest {
        let mut headers = Head::empty();
        for (name, value) in [
            ("authorization", "secret"),
            ("accept", "x"),
            ("content-type", "y"),
        ] {
            headers.add(name.as_bytes(), value.as_bytes()).unwrap();
        }
        FetchRequest {
            method: method.as_bytes().to_vec(),
            to: FetchTo::Url(url.to_owned()),
            headers,
            host: Some(b"other".to_vec()),
            body: FetchBody::Bytes((*b"body").into()),
            timeout_ms: None,
            redirects: 5,
            public_only: false,
        }
    }

    fn response(status: u16, location: &str) -> ResponseHead {
        let text = format!("HTTP/1.1 {status} x\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
        let limits = HeadLimits {
            max_bytes: 4096,
            max_fields: 10,
            lenient: Lenient::NONE,
        };
        match parse_response(text.as_bytes(), limits, false).unwrap() {
            Parsed::Complete { head, .. } => head,
            Parsed::Partial => unreachable!("the head is whole"),
        }
    }

    fn url(request: &FetchRequest) -> &str {
        match &request.to {
            FetchTo::Url(url) => url,
            _ => "",
        }
    }

    #[test]
    fn redirect_within_the_origin_keeps_secrets() {
        let mut first = request("GET", "http://a/x/y?q");
        assert!(follow(&mut first, &response(302, "../z"), "http://a/x/y?q").unwrap());
        assert_eq!(url(&first), "http://a/z");
        assert!(first.headers.get(b"authorization").is_some());
        assert!(first.host.is_some());
    }

    #[test]
    fn redirect_to_another_origin_drops_secrets() {
        for location in ["http://b/", "https://a/", "http://a:81/", "//b/"] {
            let mut first = request("GET", "http://a/");
            assert!(follow(&mut first, &response(307, location), "http://a/").unwrap());
            assert!(first.headers.get(b"authorization").is_none(), "{location}");
            assert!(first.headers.get(b"accept").is_some());
            assert!(first.host.is_none());
        }
    }

    #[test]
    fn post_becomes_get_without_body_unless_the_status_forbids() {
        for (status, method) in [
            (301, "GET"),
            (302, "GET"),
            (303, "GET"),
            (307, "POST"),
            (308, "POST"),
        ] {
            let mut first = request("POST", "http://a/");
            assert!(follow(&mut first, &response(status, "/b"), "http://a/").unwrap());
            assert_eq!(first.method, method.as_bytes(), "{status}");
            assert_eq!(matches!(first.body, FetchBody::None), method == "GET");
            assert_eq!(first.headers.get(b"content-type").is_none(), method == "GET");
        }
    }

    #[test]
    fn redirect_from_https_to_http_is_refused() {
        let mut first = request("GET", "https://a/");
        let error = follow(&mut first, &response(302, "http://a/"), "https://a/").unwrap_err();
        assert_eq!(error.kind, FetchErrorKind::Redirect);
    }

    #[test]
    fn redirect_to_what_is_not_fetched_is_refused() {
        for location in ["file:///etc/passwd", "http://user:word@b/"] {
            let mut first = request("GET", "http://a/");
            assert!(
                follow(&mut first, &response(302, location), "http://a/").is_err(),
                "{location}"
            );
        }
    }

    #[test]
    fn upstream_is_not_left() {
        let mut first = request("GET", "");
        first.to = FetchTo::Upstream("api".to_owned(), b"/a/b".to_vec());
        assert!(!follow(&mut first, &response(302, "http://evil/"), "/a/b").unwrap());
        assert!(follow(&mut first, &response(302, "c"), "/a/b").unwrap());
        assert!(matches!(&first.to, FetchTo::Upstream(_, target) if target == b"/a/c"));
    }
}
