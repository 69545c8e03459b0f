//! An upgrade that a hook accepts itself: from the 101 on, bytes both ways between the client and the hook's stream.

use std::rc::Rc;

use crate::failure::{Failure, FailureKind};
use crate::hooks::configuration::Configuration;
use crate::hooks::exchange::Exchange;
use crate::http::h1::request_head::upgrade_to;
use crate::http::h1::response_head::write_switching_protocols;
use crate::http::reply::page::reason_phrase;
use crate::http::upgraded::Upgraded;
use crate::messages::websocket;
use crate::state::connection::{Connection, Next};
use headgate_net::peer::Peer;
use headgate_net::stream::Stream;
use headgate_net::virtual_stream::VirtualEnd;
use headgate_wire::Head;

/// Sends a 101 with these fields and carries bytes until one side is silent for too long or both have ended.
pub(crate) async fn open(
    connection: &mut Connection,
    exchange: &Rc<Exchange>,
    tables: &Rc<Configuration>,
    fields: &Head,
    end: VirtualEnd,
) -> Result<Next, Failure> {
    let mut head = Vec::with_capacity(256);
    {
        let request = exchange.request.borrow();
        let Some(requested) = upgrade_to(&request) else {
            return Err(Failure::from(FailureKind::UnexpectedHookUpgrade));
        };
        if exchange.channel().is_some() {
            websocket::check_response(&request, |name| fields.get_all(name))
                .map_err(|broken| Failure::new(FailureKind::BadHookWebSocketResponse, broken))?;
        }
        write_switching_protocols(reason_phrase(101).as_bytes(), fields, requested, &mut head);
    }
    let mut hook = Peer::new(Stream::Virtual(Box::new(end)), connection.shared.buffers.clone());
    let upgraded = Upgraded {
        exchange,
        tables,
        upstream: None,
    };
    upgraded.carry(connection, &head, &mut hook).await
}
