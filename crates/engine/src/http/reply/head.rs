//! The head of every response that the gateway sends itself: one place writes it.

use headgate_wire::{Head, ResponseFraming, Version, CRLF};

use crate::failure::{Failure, FailureKind};
use crate::hooks::connection::ClientInfo;
use crate::hooks::exchange::Exchange;
use crate::http::h1::request_head::field;
use crate::http::h1::response_head::{write_end, write_status};
use crate::http::h1::{alt_svc, server_timing};
use crate::http::reply::page::reason_phrase;
use crate::state::Shared;

/// What a head has beside the reply's own fields.
pub(super) struct HeadOptions<'a> {
    pub(super) shared: &'a Shared,
    /// What the client speaks.
    pub(super) version: Version,
    pub(super) framing: ResponseFraming,
    /// The name of the field for the request's id, and the id.
    pub(super) request_id: Option<(&'a str, &'a str)>,
    /// Who gets it, if that is known.
    pub(super) client: Option<&'a ClientInfo>,
    /// Where the time went, if clients are told.
    pub(super) timings: Option<&'a Exchange>,
}

/// Appends the head of a reply with this status and these fields.
pub(super) fn write(status: u16, head: &Head, options: &HeadOptions<'_>, out: &mut Vec<u8>) {
    out.reserve(head.len_hint() + 192);
    write_status(status, reason_phrase(status).as_bytes(), out);
    if head.get(b"date").is_none() {
        out.extend_from_slice(b"Date: ");
        options.shared.write_date(out);
        out.extend_from_slice(CRLF);
    }
    if let Some((name, id)) = options.request_id {
        if head.get(name.as_bytes()).is_none() {
            field(out, name.as_bytes(), &[id.as_bytes()]);
        }
    }
    head.write_fields(out);
    if let Some(client) = options.client {
        alt_svc::write(head, client, out);
    }
    if let Some(exchange) = options.timings {
        server_timing::write(exchange, options.shared.clock.tick(), out);
    }
    write_end(options.framing, options.version, out);
}

/// A head of fields that are made here.
///
/// # Errors
/// One of them cannot be sent: what came from a request is in it.
pub(super) fn of_fields<'a>(fields: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<Head, Failure> {
    let mut head = Head::with_room();
    for (name, value) in fields {
        head.add(name.as_bytes(), value).map_err(|error| {
            Failure::new(
                FailureKind::BadHookResponse,
                format!("the response cannot be sent: {error}"),
            )
        })?;
    }
    Ok(head)
}
