//! A connection that has switched protocols (RFC 9110 section 7.8): the 101, then messages that hooks see, or bytes as they come.

use std::rc::Rc;

use crate::failure::{Failure, FailureKind};
use crate::hooks::configuration::Configuration;
use crate::hooks::exchange::Exchange;
use crate::http::h1::tunnel::{tunnel, TunnelBroken};
use crate::messages::websocket;
use crate::state::connection::{Connection, Next};
use crate::state::server_failures::log_server_failure;
use headgate_net::peer::Peer;
use headgate_net::reason::in_words;
use headgate_upstream::LimitCounter;
use headgate_upstream::Upstream;

/// An upgrade that the server or hook has accepted.
pub(crate) struct Upgraded<'a> {
    pub(crate) exchange: &'a Rc<Exchange>,
    pub(crate) tables: &'a Rc<Configuration>,
    /// Whose timeouts hold where the route has none; a hook that responds itself has no upstream.
    pub(crate) upstream: Option<&'a Upstream>,
}

impl Upgraded<'_> {
    /// Sends the 101 and carries what follows between the client and `other`, until one side is silent for too long or both
    /// have ended.
    pub(crate) async fn carry(
        &self,
        connection: &mut Connection,
        head: &[u8],
        other: &mut Peer,
    ) -> Result<Next, Failure> {
        let (exchange, tables) = (self.exchange, self.tables);
        let route = exchange.route.get();
        let send_ms = tables.timeout(route, self.upstream, |t| t.send, |t| t.send);
        exchange.status.set(101);
        exchange.timings.responded_us.set(exchange.now_us());
        let sent = connection.peer.write_all(&connection.watch, head, send_ms).await;
        sent.map_err(|_| Failure::client_disconnected())?;
        exchange.response_bytes.set(head.len() as u64);
        exchange.head_bytes.set(head.len() as u64);
        if let Some(channel) = exchange.channel() {
            return Ok(websocket::relay(connection, exchange, tables, other, (channel, send_ms)).await);
        }
        let idle_ms = tables.timeout(route, self.upstream, |t| t.upstream_idle, |t| t.upstream_idle);
        let (moved, ended) = tunnel(&mut connection.peer, other, &connection.watch, idle_ms).await;
        let (up, down) = (&exchange.request_bytes, &exchange.response_bytes);
        up.set(up.get() + moved.from_client);
        down.set(down.get() + moved.from_server);
        match ended {
            // a client may end a tunnel as it likes
            Ok(()) | Err(TunnelBroken::Client) => {}
            Err(TunnelBroken::Late(limit)) => {
                connection.shared.metrics.count(limit.counter());
                exchange.limit.set(limit.name());
            }
            Err(TunnelBroken::Server(error)) => {
                let failure = Failure::new(
                    FailureKind::UpstreamTruncated,
                    "the server broke the connection after it had switched protocols",
                );
                let failure = failure.with_detail(Some(in_words(&error)));
                log_server_failure(&connection.shared, exchange, &failure);
                exchange.failure.replace(Some(failure));
            }
        }
        Ok(Next::Close)
    }
}
