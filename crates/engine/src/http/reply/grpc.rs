//! The gateway's local replies to gRPC calls.
//!
//! gRPC has its own statuses, in fields that its clients look for before the HTTP status (the protocol's "PROTOCOL-HTTP2.md"):
//! a failure is a 200 without a body, its status in the head ("trailers-only").

use crate::failure::{Failure, FailureKind};

/// Whether a content type is gRPC's own (gRPC-Web is not).
pub(crate) fn is_grpc(content_type: Option<&[u8]>) -> bool {
    let Some(rest) = content_type.and_then(|value| value.strip_prefix(b"application/grpc")) else {
        return false;
    };
    matches!(rest.first(), None | Some(b'+' | b';'))
}

/// The failure's status in gRPC: the mapping of "http-grpc-status-mapping.md", refined where the gateway knows more.
pub(crate) fn status(failure: &Failure) -> u8 {
    const UNKNOWN: u8 = 2;
    const DEADLINE_EXCEEDED: u8 = 4;
    const PERMISSION_DENIED: u8 = 7;
    const RESOURCE_EXHAUSTED: u8 = 8;
    const UNIMPLEMENTED: u8 = 12;
    const INTERNAL: u8 = 13;
    const UNAVAILABLE: u8 = 14;
    const UNAUTHENTICATED: u8 = 16;
    match (failure.kind, failure.status()) {
        (FailureKind::GrpcDeadlineExceeded | FailureKind::DeadlineExceeded, _) | (_, 408) => {
            DEADLINE_EXCEEDED
        }
        (_, 400 | 500) => INTERNAL,
        (_, 401) => UNAUTHENTICATED,
        (_, 403) => PERMISSION_DENIED,
        (_, 404 | 405) => UNIMPLEMENTED,
        (_, 413 | 431) => RESOURCE_EXHAUSTED,
        (_, 429 | 502..=504) => UNAVAILABLE,
        _ => UNKNOWN,
    }
}

/// The failure's text as `grpc-message` carries it: percent-encoded beyond printable ASCII.
pub(crate) fn message(text: &str) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(text.len());
    for byte in text.bytes() {
        if matches!(byte, b' '..=b'~') && byte != b'%' {
            encoded.push(byte);
        } else {
            encoded.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_percent_encoded() {
        assert_eq!(message("50% of caf\u{e9}\n"), b"50%25 of caf%C3%A9%0A");
    }

    #[test]
    fn web_is_another_protocol() {
        assert!(is_grpc(Some(b"application/grpc")) && is_grpc(Some(b"application/grpc+proto")));
        assert!(!is_grpc(Some(b"application/grpc-web")) && !is_grpc(None));
    }

    #[test]
    fn server_that_is_down_is_unavailable() {
        assert_eq!(status(&Failure::new(FailureKind::ConnectFailed, "")), 14);
        assert_eq!(status(&Failure::from(FailureKind::GrpcDeadlineExceeded)), 4);
    }
}
