//! Listeners and the life of a request, connection or datagram flow, from its first byte to its line in the access log.
//!
//! Start reading at `http::exchange` (one request's life); `http::forward` is its part that goes to a server. Hooks are a
//! trait here, [`Hooks`]; the crate `headgate-bridge` implements it.

mod accept;
mod access_log;
pub mod failure;
pub mod hooks;
mod http;
mod http_date;
pub mod messages;
pub mod redis;
mod route_test;
pub mod snapshot;
mod state;
mod streams;
mod sweep;
pub mod tables;
mod trace;
mod trace_export;
mod worker;

pub use access_log::HookTime;
pub use failure::{failures, retry_name, Facts, Failure, FailureKind, FaultSide, Level};
pub use headgate_net::tls::{
    cipher_name, ensure_local_authority, module as tls_module, require_fips, ChosenCertificate,
    ClientCertificate, ClientCertificateMode, CryptoModule, OwnCertificate, PreparedCertificates, TlsInfo,
    TICKET_KEY_BYTES,
};
pub use headgate_net::virtual_stream::{virtual_pair, Duplex, VirtualEnd};
pub use headgate_shared::metrics::ZONE_CELLS;
pub use headgate_upstream::{is_server_address, Load};
pub use hooks::configuration::Configuration;
pub use hooks::connection::{Chosen, ClientInfo, ConnectionState, Preread, Protocol};
pub use hooks::exchange::Exchange;
pub use hooks::intake::{Delivery, NewBody, Taken, Want};
pub use hooks::native::{
    BadAction, Call, Missed, Native, Objects, Passed, Period, Ran, Said, Seen, Tally, Told,
};
pub use hooks::notes::Notes;
pub use hooks::piece::{Chunk, Piece};
pub use hooks::{
    BodyFailed, BodySource, BodyStep, BodyVerdict, ChunkStep, ChunkVerdict, HookResponse, HookResponseBody,
    Hooks, LocalFuture, MatcherFailed, MessageStep, MessageVerdict, NoHooks, Read, Step, Verdict,
};
pub use http::fetch::{
    upload_channel, FetchBody, FetchError, FetchErrorKind, FetchRequest, FetchTo, Fetched, FetchedBody,
    UploadEnd,
};
pub use messages::websocket;
pub use route_test::{test_route, RouteTest, TestedRequest};
pub use snapshot::{Flag, Phase};
pub use tables::draft::{Draft, Drafter};
pub use tables::SnapshotError;
pub use worker::{check, Prepared, WeakWorker, Worker};
