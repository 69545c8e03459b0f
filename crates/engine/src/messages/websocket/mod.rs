//! WebSockets whose messages hooks see (RFC 6455).
//!
//! # How it works
//! Where a route has hooks of phase `websocket_message`, an upgrade to `websocket` is claimed before the request's other
//! hooks run ([`handshake`]), and after the 101 the gateway is an endpoint on each side ([`codec`], with the protocol of the
//! crate `tungstenite`): it takes whole messages from one, shows them to the hooks, and sends what they leave to the other
//! ([`crate::messages::relay`]). Hooks reach the socket by the [`Channel`]. Everywhere else an upgrade stays a tunnel
//! ([`crate::http::h1::tunnel`]) and none of this is entered.

mod codec;
mod handshake;
mod relay;

pub use crate::hooks::channel::{Channel, CloseRefused, QueueFull};
pub use crate::hooks::message::{Bytes, Message, Party, Utf8Bytes};
pub(crate) use handshake::{check_response, claim_websocket, missing_version};
pub(crate) use relay::relay;
