//! Listeners, pools, timers and the life of a request: the only crate that does I/O.
//!
//! Start reading at [`exchange`] (one request's life); `forward` is its part that goes to a server. Hooks are a trait here;
//! who implements it is not this crate's business.

mod access_log;
mod admission;
mod attendants;
pub mod bodies;
mod clock;
mod connection;
pub mod connection_state;
mod deadline;
mod error_page;
mod exchange;
pub mod exchange_state;
pub mod failure;
mod fetch;
mod finishing;
mod forward;
mod grpc;
pub mod hooks;
mod http1;
mod http2;
mod http_date;
mod limits;
mod listener;
mod listener_settings;
pub mod metrics;
mod networks;
mod opening;
mod own_answer;
mod own_tunnel;
mod peer;
mod phase_hooks;
mod pipe;
pub mod redis;
mod request_id;
mod server_timing;
pub mod snapshot;
mod static_files;
mod stream;
mod switched;
pub mod tables;
mod tcp;
mod tls;
mod tls_routes;
mod turns;
mod udp;
mod upstream;
pub mod virtual_stream;
pub mod websocket;
mod worker;

pub use bodies::intake::{Delivery, NewBody, Taken, Want};
pub use bodies::piece::{Chunk, Piece};
pub use connection_state::{Chosen, ConnectionState, Opened};
pub use exchange_state::{ClientInfo, Exchange, HookTime, Protocol};
pub use failure::{Failure, Source};
pub use fetch::{
    upload_channel, FetchBody, FetchError, FetchErrorKind, FetchRequest, FetchTo, Fetched, FetchedBody,
    UploadEnd,
};
pub use hooks::{
    Answer, AnswerBody, BodyFailed, BodySource, BodyStep, BodyVerdict, ChunkStep, Filtered, Hooks,
    LocalFuture, MessageStep, MessageVerdict, NoHooks, Read, Step, Verdict,
};
pub use metrics::ZONE_CELLS;
pub use tables::SnapshotError;
pub use tls::{
    cipher_name, module as tls_module, require_fips, ChosenCertificate, ClientCertificate,
    ClientCertificateMode, CryptoModule, OwnCertificate, PreparedCertificates, TlsInfo, TICKET_KEY_BYTES,
};
pub use upstream::{is_server_address, Load};
pub use virtual_stream::{virtual_pair, Duplex, VirtualEnd};
pub use worker::{check, Worker};
