//! A WebSocket from its 101 on.

use std::rc::Rc;

use tungstenite::protocol::Role;

use super::codec::WebSocketCodec;
use crate::hooks::channel::Channel;
use crate::hooks::configuration::Configuration;
use crate::hooks::exchange::Exchange;
use crate::messages::relay::{DirectionState, MessageRelay};
use crate::messages::side::Side;
use crate::messages::timing::{Bounds, Timing};
use crate::snapshot::Phase;
use crate::state::connection::{Connection, Next};
use crate::state::Shared;
use headgate_net::peer::Peer;
use headgate_shared::metrics::Counter;

/// Carries messages between the client and `server` until both sides have ended.
pub(crate) async fn relay(
    connection: &mut Connection,
    exchange: &Rc<Exchange>,
    tables: &Rc<Configuration>,
    server: &mut Peer,
    (channel, send_ms): (Rc<Channel>, u64),
) -> Next {
    let shared = connection.shared.clone();
    let _open = Open::begin(&shared);
    let settings = &tables.websocket;
    let bounds = Bounds {
        ping: settings.ping_interval,
        idle: settings.idle,
        close: settings.close_timeout,
        send: send_ms,
    };
    let relay = MessageRelay {
        client: Side::new(&mut connection.peer, WebSocketCodec::new(Role::Server, settings)),
        server: Side::new(server, WebSocketCodec::new(Role::Client, settings)),
        up: DirectionState::Reading,
        down: DirectionState::Reading,
        channel,
        exchange,
        tables,
        hooks: exchange.route.get().map_or(&[][..], |route| {
            &tables.route(route).hooks[Phase::WebSocketMessage]
        }),
        shared: &shared,
        watch: &connection.watch,
        timing: Timing::new(bounds, shared.clock.now_ms()),
        next: Next::Close,
    };
    relay.run().await
}

/// Counts a WebSocket until dropped.
struct Open<'a>(&'a Shared);

impl<'a> Open<'a> {
    fn begin(shared: &'a Shared) -> Self {
        shared.metrics.count(Counter::WebSockets);
        shared.metrics.count(Counter::WebSocketsActive);
        shared.websockets.set(shared.websockets.get() + 1);
        Self(shared)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.metrics.sub(Counter::WebSocketsActive, 1);
        self.0.websockets.set(self.0.websockets.get() - 1);
    }
}
