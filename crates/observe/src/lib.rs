//! Metrics of a whole gateway: what its processes have counted, summed up, written as text, and served on a thread of its own.
//!
//! No request waits for any of it: the processes count into memory of their own (`headgate_shared::series`), and here that
//! memory is read. Start reading at [`Exporter`].

mod counters;
mod exporter;
mod json;
mod merged;
mod negotiation;
mod pusher;
mod server;
mod statsd;
mod text;

pub use counters::named_counters;
pub use exporter::{Exporter, HandedOver, Inherited};
pub use pusher::{PushSettings, Pusher};
pub use server::Server;
pub use statsd::Naming;
pub use text::Format;
