//! A message of a connection that carries messages, and who sent it.

pub use tungstenite::{Bytes, Utf8Bytes};

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
    /// Who accepted it.
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
