//! Bytes and time: connections, what is read of them, how long that may take, and TLS. No HTTP.
//!
//! Start reading at [`peer`]: a stream with its unread bytes. Everything here belongs to one worker, which is one thread.

pub mod alarm;
pub mod buffers;
pub mod clock;
pub mod deadline;
pub mod happy_eyeballs;
pub mod limits;
pub mod pace;
pub mod peer;
pub mod pipe;
pub mod quic;
pub mod reason;
mod splice;
pub mod stream;
pub mod tls;
pub mod turns;
pub mod virtual_stream;
