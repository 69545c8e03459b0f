//! The opening handshake of both sides (RFC 6455 section 4), where the gateway will see the messages.

use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use headgate_upstream::http2::websocket_key::accept;
use headgate_wire::{Framing, RequestHead};

use crate::failure::{Failure, FailureKind};
use crate::hooks::channel::Channel;
use crate::hooks::exchange::Exchange;
use crate::snapshot::WebSocket;

/// Makes the request one for a WebSocket whose messages hooks see, if it requests a WebSocket. An upgrade to anything else
/// is not passed on: it would lead round the hooks.
pub(crate) fn claim_websocket(exchange: &Exchange, settings: &WebSocket) -> Result<(), Failure> {
    let mut request = exchange.request.borrow_mut();
    let is_upgrade = match request.upgrade_protocol() {
        None => return Ok(()),
        Some(protocol) => protocol.eq_ignore_ascii_case(b"websocket"),
    };
    if !is_upgrade {
        request.upgrade = false;
        return Ok(());
    }
    check_request(&request)?;
    // what would be negotiated is not spoken here: both sides go on without compression
    request.head.remove(b"sec-websocket-extensions");
    let channel = Channel::new(settings.max_queued_bytes);
    let _ = exchange.rare().websocket.set(channel.into());
    Ok(())
}

/// RFC 6455 section 4.2.1.
fn check_request(request: &RequestHead) -> Result<(), Failure> {
    let bad = |what: &'static str| Failure::new(FailureKind::WebSocketHandshake, what);
    if request.method() != b"GET" || !matches!(request.framing, Framing::None | Framing::Length(0)) {
        return Err(bad("a WebSocket is requested by a GET without a body"));
    }
    if only(request.head.get_all(b"sec-websocket-version")) != Some(b"13".as_slice()) {
        return Err(FailureKind::WebSocketVersion.into());
    }
    let key = only(request.head.get_all(b"sec-websocket-key"));
    match key.map(|key| STANDARD.decode(key)) {
        Some(Ok(nonce)) if nonce.len() == 16 => Ok(()),
        _ => Err(bad("Sec-WebSocket-Key is not a nonce of 16 bytes")),
    }
}

/// The version to name in the response to a client that requested another one (RFC 6455 section 4.4).
pub(crate) fn missing_version(failure: &Failure) -> Option<&'static str> {
    (failure.kind == FailureKind::WebSocketVersion).then_some("13")
}

/// What a server's 101 breaks of RFC 6455 section 4.1, if anything. `fields` gives all values of a field.
pub(crate) fn check_response<'a, I>(
    request: &RequestHead,
    fields: impl Fn(&'static [u8]) -> I,
) -> Result<(), &'static str>
where
    I: Iterator<Item = &'a [u8]>,
{
    let key = request.head.get(b"sec-websocket-key").unwrap_or_default();
    if only(fields(b"sec-websocket-accept")) != Some(accept(key).as_bytes()) {
        return Err("the response's Sec-WebSocket-Accept does not match the request's key");
    }
    if fields(b"sec-websocket-extensions").next().is_some() {
        return Err("the response has an extension that was not offered");
    }
    let mut chosen = fields(b"sec-websocket-protocol");
    let Some(protocol) = chosen.next() else {
        return Ok(());
    };
    let is_offered = request
        .head
        .get_all(b"sec-websocket-protocol")
        .flat_map(|value| value.split(|byte| *byte == b','))
        .any(|offered| offered.trim_ascii() == protocol);
    if !is_offered || chosen.next().is_some() {
        return Err("the response has a subprotocol that was not offered");
    }
    Ok(())
}

fn only<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Option<&'a [u8]> {
    values.next().filter(|_| values.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use headgate_wire::{parse_request, HeadLimits, Parsed};

    fn request(fields: &str) -> RequestHead {
        let text = format!(
            "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n{fields}\r\n"
        );
        let limits = HeadLimits {
            max_bytes: 4096,
            max_fields: 20,
            ..HeadLimits::default()
        };
        match parse_request(text.as_bytes(), limits) {
            Ok(Parsed::Complete { head, .. }) => head,
            other => panic!("the test's request is not whole: {other:?}"),
        }
    }

    const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    const VERSION_13: &str = "Sec-WebSocket-Version: 13\r\n";

    #[test]
    fn example_of_the_rfc_is_accepted() {
        assert!(check_request(&request(&format!("{KEY}{VERSION_13}"))).is_ok());
        assert_eq!(
            accept(b"dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }

    #[test]
    fn bad_requests_are_refused() {
        let status = |fields: &str| check_request(&request(fields)).expect_err(fields).status();
        assert_eq!(status(KEY), 426);
        assert_eq!(status(&format!("{KEY}Sec-WebSocket-Version: 8\r\n")), 426);
        assert_eq!(status(&format!("{KEY}{VERSION_13}{VERSION_13}")), 426);
        assert_eq!(status(VERSION_13), 400);
        assert_eq!(status(&format!("{KEY}{KEY}{VERSION_13}")), 400);
        assert_eq!(status(&format!("Sec-WebSocket-Key: short\r\n{VERSION_13}")), 400);
        assert_eq!(status(&format!("{KEY}{VERSION_13}Content-Length: 3\r\n")), 400);
    }

    #[test]
    fn responses_must_fit_what_was_requested() {
        let request_head = request(&format!("{KEY}{VERSION_13}Sec-WebSocket-Protocol: chat, v2\r\n"));
        let verdict = |response: &[(&str, &str)]| {
            check_response(&request_head, |name| {
                let values: Vec<&[u8]> = response
                    .iter()
                    .filter(|(known, _)| known.as_bytes() == name)
                    .map(|(_, value)| value.as_bytes())
                    .collect();
                values.into_iter()
            })
        };
        let accept = ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(verdict(&[accept]), Ok(()));
        assert_eq!(verdict(&[accept, ("sec-websocket-protocol", "v2")]), Ok(()));
        assert!(verdict(&[]).is_err());
        assert!(verdict(&[accept, accept]).is_err());
        assert!(verdict(&[("sec-websocket-accept", "AAAA")]).is_err());
        assert!(verdict(&[accept, ("sec-websocket-protocol", "v3")]).is_err());
        assert!(verdict(&[accept, ("sec-websocket-extensions", "permessage-deflate")]).is_err());
    }
}
