//! `Max-Forwards` of OPTIONS and TRACE: how many more times a request may be forwarded (RFC 9110 section 7.6.2).

use headgate_wire::{Head, RequestHead};

use crate::hooks::exchange::Exchange;
use crate::hooks::{HookResponse, HookResponseBody};

/// Counts one forward down. The reply of this gateway as the final recipient, if the request may not be forwarded.
///
/// On other methods the field is ignored, as it is where it is not a number.
pub(crate) fn count_down(exchange: &Exchange) -> Option<Box<HookResponse>> {
    let mut request = exchange.request.borrow_mut();
    let is_trace = request.method() == b"TRACE";
    if !is_trace && request.method() != b"OPTIONS" {
        return None;
    }
    let left = forwards(&request)?;
    let Some(left) = left.checked_sub(1) else {
        return Some(Box::new(if is_trace { traced(&request) } else { options() }));
    };
    let text = itoa::Buffer::new().format(left).as_bytes().to_vec();
    // a number is a field value, and the head has room for one
    let _ = request.head.set(b"max-forwards", &text);
    None
}

fn forwards(request: &RequestHead) -> Option<u64> {
    let value = request.head.get(b"max-forwards")?;
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    // one that is too large for a counter is the largest that can be counted
    let counted = || std::str::from_utf8(value).ok()?.parse().ok();
    is_number.then(|| counted().unwrap_or(u64::MAX))
}

/// Only the target's server could say more about it.
fn options() -> HookResponse {
    HookResponse {
        status: 200,
        head: Head::empty(),
        body: HookResponseBody::Bytes(Vec::new()),
    }
}

/// The request as received, without credentials and cookies (RFC 9110 section 9.3.8).
fn traced(request: &RequestHead) -> HookResponse {
    const SECRET: [&[u8]; 3] = [b"authorization", b"cookie", b"proxy-authorization"];
    let mut text = [
        b"TRACE ",
        request.target(),
        b" HTTP/1.1\r\nHost: ",
        request.host(),
        b"\r\n",
    ]
    .concat();
    for (name, value) in request.head.iter() {
        if !SECRET.iter().any(|secret| name.eq_ignore_ascii_case(secret)) {
            for part in [name, b": ", value, b"\r\n"] {
                text.extend_from_slice(part);
            }
        }
    }
    text.extend_from_slice(b"\r\n");
    let mut head = Head::with_room();
    // a literal is a field value
    let _ = head.add(b"content-type", b"message/http");
    HookResponse {
        status: 200,
        head,
        body: HookResponseBody::Bytes(text),
    }
}
