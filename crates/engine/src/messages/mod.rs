//! Protocols of messages: two sides, and what passes between them.

pub mod websocket;
