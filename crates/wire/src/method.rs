//! What the registry of HTTP methods says of them.

/// Whether sending a request with this method twice has the effect of sending it once (RFC 9110 section 9.2.2): the methods
/// that the IANA registry calls idempotent. Any other, and an unregistered one, is not.
pub fn is_idempotent(method: &[u8]) -> bool {
    match method {
        b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PUT" | b"DELETE" => true,
        _ => REGISTERED.contains(&method),
    }
}

/// Beside those of RFC 9110, as of 2026. `PRI` is none that a client may send.
const REGISTERED: [&[u8]; 29] = [
    b"ACL",
    b"BASELINE-CONTROL",
    b"BIND",
    b"CHECKIN",
    b"CHECKOUT",
    b"COPY",
    b"LABEL",
    b"LINK",
    b"MERGE",
    b"MKACTIVITY",
    b"MKCALENDAR",
    b"MKCOL",
    b"MKREDIRECTREF",
    b"MKWORKSPACE",
    b"MOVE",
    b"ORDERPATCH",
    b"PROPFIND",
    b"PROPPATCH",
    b"QUERY",
    b"REBIND",
    b"REPORT",
    b"SEARCH",
    b"UNBIND",
    b"UNCHECKOUT",
    b"UNLINK",
    b"UNLOCK",
    b"UPDATE",
    b"UPDATEREDIRECTREF",
    b"VERSION-CONTROL",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_of_the_registry_are_told_apart() {
        for method in [
            &b"GET"[..],
            b"PROPFIND",
            b"QUERY",
            b"SEARCH",
            b"REPORT",
            b"VERSION-CONTROL",
        ] {
            assert!(is_idempotent(method));
        }
        for method in [&b"POST"[..], b"PATCH", b"LOCK", b"CONNECT", b"get", b"PURGE", b""] {
            assert!(!is_idempotent(method));
        }
    }
}
