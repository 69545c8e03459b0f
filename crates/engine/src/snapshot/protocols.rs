//! What is spoken with clients beside HTTP/1: HTTP/2, HTTP/3 and WebSockets.

use serde::Deserialize;

use headgate_wire::FrameBudget;

/// HTTP/2 with clients (RFC 9113).
#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub struct Http2 {
    /// Whether it is spoken: by prior knowledge on plain listeners, by ALPN on TLS ones.
    pub enabled: bool,
    /// What plain listeners do about it.
    pub h2c: H2c,
    /// Requests at once on one connection.
    pub max_concurrent_streams: u32,
    /// Resets that one connection may send in ten seconds.
    pub max_resets: u32,
    /// Frames without work that one connection may send in ten seconds, or for each quarter of a frame of work.
    pub max_control_frames: u32,
    /// What a stream's client may send ahead of its reader; a connection has sixteen times as much.
    pub window_bytes: u32,
    /// How long a connection takes new requests, in milliseconds.
    pub max_age: u64,
    /// Whether WebSockets are let in (RFC 8441).
    pub websocket: bool,
}

/// Resets that a client may provoke at least, over the life of a connection: a burst before it knows how many streams it
/// may open is not a flood.
const PROVOKED_RESETS: usize = 1024;

impl Http2 {
    /// Resets that a client may provoke by what it sends.
    pub(crate) fn provoked_resets(&self) -> usize {
        PROVOKED_RESETS.max(self.max_resets as usize)
    }

    /// What a connection's frames are metered with.
    pub(crate) fn budget(&self) -> FrameBudget {
        FrameBudget {
            control: self.max_control_frames,
            resets: self.max_resets,
        }
    }
}

/// HTTP/3 with clients (RFC 9114), on listeners that ask for it.
#[derive(Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Http3 {
    /// Requests at once on one connection.
    pub max_concurrent_streams: u32,
    /// Requests that one connection may give up in ten seconds.
    pub max_resets: u32,
    /// What a stream's client may send ahead of its reader; a connection has sixteen times as much.
    pub window_bytes: u32,
    /// How long a connection takes new requests, in milliseconds.
    pub max_age: u64,
    /// How long a client may give no sign of life, in milliseconds.
    pub idle: u64,
    /// Whether WebSockets are let in (RFC 9220).
    pub websocket: bool,
    /// How long clients may remember that HTTP/3 is spoken, in seconds.
    pub alt_svc_max_age: u64,
    /// What decides how fast a connection sends.
    pub congestion: Congestion,
    /// The folder into which events of connections are written.
    pub qlog: Option<String>,
    /// Of so many of a million connections.
    pub qlog_per_million: u32,
    /// Files that may be there.
    pub qlog_max_files: usize,
    /// What one of them may come to.
    pub qlog_max_bytes: u64,
}

/// Controls of congestion.
#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Congestion {
    /// CUBIC (RFC 9438): what is lost says when it is too fast.
    Cubic,
    /// BBR: the bandwidth and the delay that are seen say how fast it may be.
    Bbr,
}

/// HTTP/2 on plain listeners.
#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum H2c {
    /// Told by a connection's first bytes (RFC 9113 section 3.3).
    Detect,
    /// Nothing else is spoken.
    Only,
    /// It is not spoken.
    Off,
}

/// WebSockets whose messages hooks see.
#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub struct WebSocket {
    /// A whole message.
    pub max_message_bytes: usize,
    /// One frame of it.
    pub max_frame_bytes: usize,
    /// What hooks have sent of their own and the peers have not taken.
    pub max_queued_bytes: usize,
    /// How often a silent side is pinged, and how long it may take to respond, in milliseconds; 0 for never.
    pub ping_interval: u64,
    /// The longest time without a message, in milliseconds.
    pub idle: u64,
    /// How long a close frame's response is awaited, in milliseconds.
    pub close_timeout: u64,
}
