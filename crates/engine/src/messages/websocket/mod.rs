//! WebSockets whose messages hooks see (RFC 6455).
//!
//! # How it works
//! Where a route has hooks of phase `websocket_message`, an upgrade to `websocket` is claimed before the request's other
//! hooks run ([`handshake`]), and after the 101 the gateway is an endpoint on each side ([`side`], with the protocol of the
//! crate `tungstenite`): it takes whole messages from one, shows them to the hooks, and sends what they leave to the other
//! ([`relay`]). Hooks reach the socket by the [`Channel`]. Everywhere else an upgrade stays a tunnel
//! ([`crate::http::h1::tunnel`]) and none of this is entered.

mod batch;
mod channel;
mod handshake;
mod relay;
mod side;
mod timing;

pub use channel::{Channel, CloseRefused, QueueFull};
pub(crate) use handshake::{accept, check_answer, claim, missing_version};
pub(crate) use relay::relay;
pub use tungstenite::{Bytes, Utf8Bytes};

use std::rc::Rc;

use crate::hooks::exchange::Exchange;

/// A whole message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// Text.
    Text(Utf8Bytes),
    /// Bytes.
    Binary(Bytes),
}

impl Message {
    /// The length in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    /// Whether it has no bytes, which is still a message.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The two ends of a WebSocket, and the gateway between them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Party {
    /// Who asked for it.
    Client,
    /// Who answered.
    Server,
    /// This gateway: its hooks, its limits, its end.
    Gateway,
}

impl Party {
    /// `client`, `server` or `gateway`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
            Self::Gateway => "gateway",
        }
    }
}

/// What hooks reach the WebSocket by, if the request asks for one whose messages they see.
pub(crate) fn channel(exchange: &Exchange) -> Option<Rc<Channel>> {
    exchange
        .known_rare()
        .and_then(|rare| rare.websocket.get().cloned())
}
