//! A request's head on its way in.

use headgate_wire::{parse_request, HeadError, Parsed, RequestError, RequestHead};

use crate::failure::{Failure, FailureKind};
use crate::state::connection::Connection;
use crate::tables::Tables;
use headgate_net::limits::Limit;
use headgate_net::peer::{Broken, BUFFER_BYTES};

/// Why there is no request.
pub(crate) enum NoRequest {
    /// The client closed between requests, or broke off.
    Gone,
    /// A deadline passed with nothing, or only a part, of a head.
    Late { limit: Limit, has_begun: bool },
    /// The head is refused.
    Refused(RequestError),
}

/// Reads a request's head, the first bytes of which are there. With it comes when its reading began, in microseconds on the
/// worker's clock: 0 where all of it was there.
pub(crate) async fn read_head(
    connection: &mut Connection,
    tables: &Tables,
) -> Result<(RequestHead, u64), NoRequest> {
    let mut began_us = 0;
    loop {
        match parse_request(connection.peer.unread(), tables.head_limits()) {
            Ok(Parsed::Complete { head, len }) => {
                connection.peer.consume(len);
                return Ok((head, began_us));
            }
            Ok(Parsed::Partial) => {}
            Err(error) => return Err(NoRequest::Refused(error)),
        }
        if began_us == 0 {
            // once: from the first byte on, however slowly the rest comes
            connection
                .watch
                .arm(Limit::ClientHead, tables.timeouts.client_head);
            began_us = connection.shared.clock.tick();
        }
        match connection.peer.fill(&connection.watch, BUFFER_BYTES).await {
            Ok(_) => {}
            Err(Broken::Limit(limit)) => {
                return Err(NoRequest::Late {
                    limit,
                    has_begun: !connection.peer.unread().is_empty(),
                })
            }
            Err(_) => return Err(NoRequest::Gone),
        }
    }
}

/// What refused heads become.
pub(crate) fn head_failure(none: &NoRequest) -> Option<(Failure, &'static str)> {
    match none {
        NoRequest::Gone | NoRequest::Late { has_begun: false, .. } => None,
        NoRequest::Late { limit, .. } => Some((Failure::from(FailureKind::ClientHeadTimeout), limit.name())),
        NoRequest::Refused(error) => {
            let limit = match error {
                RequestError::Head(HeadError::TooLarge) | RequestError::TargetTooLong => {
                    "limits.max_head_bytes"
                }
                RequestError::Head(HeadError::TooManyFields) => "limits.max_header_fields",
                _ => "",
            };
            Some((
                Failure::new(FailureKind::MalformedHead(*error), error.to_string()),
                limit,
            ))
        }
    }
}
