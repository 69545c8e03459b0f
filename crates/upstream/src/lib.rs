//! Upstreams: choosing a server, connecting to it, and keeping connections. No exchange, no hooks: whoever sends requests
//! brings the time limits and says for whom.
//!
//! Start reading at [`Dialer`], the one place where connections to servers are made, and [`Retry`], which says what may be
//! sent again after one failed.

mod adaptive;
mod address;
mod bound_auth;
mod building;
mod choosing;
mod circuit;
mod client_address;
mod deadline;
mod described;
mod dialer;
mod dialer_parts;
mod failed_by;
mod failure_log;
mod following;
mod group;
mod hash_on;
mod hedges;
mod hedging;
pub mod http2;
pub mod http3;
mod lease;
mod limits;
mod pool;
mod queue;
mod retry;
mod retry_rule;
mod server;
pub mod spec;
mod spec_fallback;
mod spec_limits;
mod spec_retries;
mod spec_servers;
mod stale;
mod standings;
mod sticky;
mod warming;

pub use bound_auth::{binds_connection, is_used_by};
pub use building::DraftedUpstream;
pub use choosing::Wanted;
pub use circuit::Pass;
pub use client_address::{ClientAddress, ClientIdentity};
pub use deadline::Deadline;
pub use described::{describe_server, is_server_address, one_server};
pub use dialer::{DialFailed, DialOptions, Dialer, Reason, Step};
pub use failed_by::FailedBy;
pub use failure_log::ServerFailure;
pub use group::{HostRule, Load, Upstream};
pub use hash_on::HashOn;
pub use http2::connections::{SharedConnections, Sharing};
pub use http3::connections::Http3Connections;
pub use lease::{Lease, PausedRetry};
pub use limits::LimitCounter;
pub use pool::{Pool, Pooled};
pub use queue::{Place, Queue};
pub use retry::Retry;
pub use server::Server;
pub use stale::{Kept, Stale, Terms};
pub use sticky::{Scope, Session, Sticky};
pub use warming::Nobody;
