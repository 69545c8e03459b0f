//! Schemes that authenticate a connection and not a request: NTLM, and Negotiate as many servers do it.
//!
//! # How it works
//! Such a server takes whatever comes on the connection for the one who has authenticated on it (RFC 4559 section 6). So a
//! connection on which one of these schemes was seen is its client's alone from then on, as long as both last.

use headgate_wire::Head;

/// Whether a request, or the response to it, says that its connection speaks for one user from now on.
#[inline]
pub fn binds_connection(request: &Head, status: u16, response: Option<&Head>) -> bool {
    is_used_by(request) || (matches!(status, 401 | 407) && response.is_some_and(is_offered_by))
}

/// Whether a request authenticates its connection.
#[inline]
pub fn is_used_by(request: &Head) -> bool {
    // each by itself: whether a name that is known when this is compiled is there is one comparison
    request.get_all(b"authorization").any(is_bound) || request.get_all(b"proxy-authorization").any(is_bound)
}

/// Whether a challenge names such a scheme, perhaps among others.
fn is_offered_by(response: &Head) -> bool {
    let fields: [&[u8]; 2] = [b"www-authenticate", b"proxy-authenticate"];
    let mut challenges = fields.iter().flat_map(|name| response.get_all(name));
    challenges.any(|value| value.split(|&byte| byte == b',').any(is_bound))
}

/// Whether credentials or a challenge begin with such a scheme (RFC 9110 section 11.1).
fn is_bound(value: &[u8]) -> bool {
    let value = value.trim_ascii();
    let scheme = value
        .split(|byte| matches!(byte, b' ' | b'\t'))
        .next()
        .unwrap_or(value);
    scheme.eq_ignore_ascii_case(b"ntlm") || scheme.eq_ignore_ascii_case(b"negotiate")
}

#[cfg(test)]
mod tests {
    use headgate_wire::{parse_response, HeadLimits, Parsed};

    use super::*;

    fn head(lines: &str) -> Head {
        let limits = HeadLimits {
            max_bytes: 4096,
            max_fields: 20,
            ..HeadLimits::default()
        };
        let text = format!("HTTP/1.1 200 OK\r\n{lines}\r\n");
        match parse_response(text.as_bytes(), limits, false) {
            Ok(Parsed::Complete { head, .. }) => head.head,
            other => panic!("the test's head is not whole: {other:?}"),
        }
    }

    #[test]
    fn credentials_of_a_connection_bind_it_whatever_the_response() {
        for field in [
            "Authorization: NTLM TlRM\r\n",
            "proxy-authorization: negotiate YII=\r\n",
        ] {
            assert!(binds_connection(&head(field), 200, None), "{field}");
        }
        for field in [
            "",
            "Authorization: Basic TlRM\r\n",
            "Authorization: Bearer ntlm\r\n",
        ] {
            assert!(!binds_connection(&head(field), 200, None), "{field}");
        }
    }

    #[test]
    fn a_challenge_binds_it_too() {
        let nothing = head("");
        for field in [
            "WWW-Authenticate: NTLM\r\n",
            "WWW-Authenticate: Basic realm=\"a\"\r\nWWW-Authenticate: Negotiate\r\n",
            "Proxy-Authenticate: Basic realm=a, NTLM TlRM\r\n",
        ] {
            assert!(binds_connection(&nothing, 401, Some(&head(field))), "{field}");
            assert!(!binds_connection(&nothing, 200, Some(&head(field))), "{field}");
        }
        let basic = head("WWW-Authenticate: Basic realm=\"negotiate\"\r\n");
        assert!(!binds_connection(&nothing, 401, Some(&basic)));
    }
}
