//! Protocols of messages: two sides, and what passes between them through hooks.
//!
//! | file | duty |
//! |---|---|
//! | [`codec`] | what a protocol has to say of itself: the trait that the rest is written for |
//! | [`side`] | one peer: its protocol's state, what waits to be written to it, and when it is full |
//! | [`relay`] | messages both ways, through the hooks, no faster than the other side takes them |
//! | [`endings`], [`waits`] | how a relay ends, and how long it may wait for what ([`timing`]) |
//! | [`batch`] | a message on its way through the hooks |
//! | [`websocket`] | the protocol of WebSockets, and their handshake |

mod batch;
mod codec;
mod endings;
mod relay;
mod side;
mod timing;
mod waits;
pub mod websocket;
