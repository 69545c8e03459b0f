//! An upgrade that a hook accepts itself: from the 101 on, bytes both ways between the client and the hook's stream.

use std::rc::Rc;

use crate::failure::{Failure, FailureKind};
use crate::hooks::configuration::Configuration;
use crate::hooks::exchange::Exchange;
use crate::http::h1::request_head::{field, upgrade_to};
use crate::http::h1::response_head::write_status;
use crate::http::upgraded::Upgraded;
use crate::messages::websocket;
use crate::state::connection::{Connection, Next};
use headgate_net::peer::Peer;
use headgate_net::stream::Stream;
use headgate_net::virtual_stream::VirtualEnd;

/// Sends a 101 with these fields and carries bytes until one side is silent for too long or both have ended.
pub(crate) async fn open(
    connection: &mut Connection,
    exchange: &Rc<Exchange>,
    tables: &Rc<Configuration>,
    fields: &[(Vec<u8>, Vec<u8>)],
    end: VirtualEnd,
) -> Result<Next, Failure> {
    let mut head = Vec::with_capacity(256);
    {
        let request = exchange.request.borrow();
        let Some(requested) = upgrade_to(&request) else {
            return Err(Failure::from(FailureKind::UnexpectedHookUpgrade));
        };
        if exchange.channel().is_some() {
            let named = |name: &'static [u8]| {
                let all = fields.iter();
                all.filter(move |(known, _)| known.eq_ignore_ascii_case(name))
                    .map(|(_, value)| &value[..])
            };
            websocket::check_response(&request, named)
                .map_err(|broken| Failure::new(FailureKind::BadHookWebSocketResponse, broken))?;
        }
        write_status(101, b"Switching Protocols", &mut head);
        for (name, value) in fields {
            field(&mut head, name, &[value]);
        }
        field(&mut head, b"Connection", &[b"upgrade"]);
        field(&mut head, b"Upgrade", &[requested]);
        head.extend_from_slice(b"\r\n");
    }
    let mut hook = Peer::new(Stream::Virtual(Box::new(end)), connection.shared.buffers.clone());
    let upgraded = Upgraded {
        exchange,
        tables,
        upstream: None,
    };
    upgraded.carry(connection, &head, &mut hook).await
}
