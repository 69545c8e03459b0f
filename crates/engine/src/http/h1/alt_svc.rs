//! The response field `Alt-Svc` (RFC 7838), by which clients learn that HTTP/3 is spoken too.

use headgate_wire::Head;

use super::request_head::field;
use crate::hooks::connection::ClientInfo;
use crate::hooks::exchange::Exchange;

/// Appends the field, unless a hook has set one.
#[inline]
pub(crate) fn write(head: &Head, client: &ClientInfo, out: &mut Vec<u8>) {
    if let Some(value) = &client.alt_svc {
        if head.get(b"alt-svc").is_none() {
            field(out, b"Alt-Svc", &[value.as_bytes()]);
        }
    }
}

/// Takes out what a server has said, whose clients are not these, where this gateway says its own.
#[inline]
pub(crate) fn forget(exchange: &Exchange) {
    if exchange.client.alt_svc.is_some() {
        if let Some(response) = exchange.response.borrow_mut().as_mut() {
            response.head.remove(b"alt-svc");
        }
    }
}
