//! A 101 of a server: from here on both sides speak another protocol.

use super::plan::Plan;
use super::reversed;
use crate::failure::{Failure, FailureKind};
use crate::http::h1::request_head::upgrade_to;
use crate::http::h1::response_head::write_switching_protocols;
use crate::http::upgraded::Upgraded;
use crate::messages::websocket;
use crate::state::connection::{Connection, Next};
use headgate_upstream::Pooled;

/// A 101: from here on both sides speak another protocol.
pub(super) async fn upgrade(
    connection: &mut Connection,
    plan: &Plan<'_>,
    mut server: Box<Pooled>,
) -> Result<Next, Failure> {
    let exchange = plan.exchange;
    let (head, reversed) = {
        let request = exchange.request.borrow();
        let Some(requested) = upgrade_to(&request) else {
            return Err(Failure::from(FailureKind::UnexpectedUpgrade));
        };
        let response = exchange.response.borrow();
        let response = response.as_ref().expect("set when the head came");
        if !response.upgrade {
            return Err(Failure::new(
                FailureKind::BadUpgrade,
                "the server's 101 names no protocol",
            ));
        }
        if !is_requested(requested, response.upgrade_protocols()) {
            return Err(Failure::new(
                FailureKind::BadUpgrade,
                "the server switched to another protocol than was requested",
            ));
        }
        if exchange.channel().is_some() {
            websocket::check_response(&request, |name| response.head.get_all(name))
                .map_err(|broken| Failure::new(FailureKind::BadWebSocketResponse, broken))?;
        }
        let mut out = Vec::new();
        write_switching_protocols(response.reason(), &response.head, requested, &mut out);
        (out, reversed::leads_to(plan, &response.head))
    };
    if let Some(address) = reversed {
        return reversed::keep(connection, plan, &head, &address, server.peer).await;
    }
    let upgraded = Upgraded {
        exchange,
        tables: plan.tables,
        upstream: Some(plan.upstream),
    };
    let Pooled { peer, leash, .. } = &mut *server;
    let carried = upgraded.carry(connection, &head, peer);
    match leash {
        None => carried.await,
        Some(leash) => reversed::leashed_rest(carried, leash).await,
    }
}

/// Whether a server's 101 names nothing that was not requested for (RFC 9110 section 7.8): what the two then speak must be
/// what this gateway has let through.
fn is_requested<'a>(requested: &[u8], mut offered: impl Iterator<Item = &'a [u8]>) -> bool {
    let names = |value: &'a [u8]| value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    offered.all(|value| {
        names(value).all(|name| {
            let mut known = requested.split(|byte| *byte == b',');
            known.any(|known| known.trim_ascii().eq_ignore_ascii_case(name))
        })
    })
}
