//! `headgate._core`: the engine as a Python module. The only crate that names pyo3.
//!
//! | part | duty |
//! |---|---|
//! | [`core`] | the loop that is tokio and asyncio at once, and the worker's controls |
//! | [`seam`] | what one loop's hooks share: asyncio's queues, the spare task |
//! | [`gil`] | the interpreter's lock, contexts and the rest that needs `unsafe` |
//! | [`spec`], [`hooks`] | the table of hooks, and the engine's trait over it |
//! | [`calling`] | one call of a hook, for an exchange or a connection |
//! | [`step`], [`waiting`] | an async hook's first step inline, and its life as a task |
//! | [`verdict`], [`body_source`] | what a hook returned, and a streamed body |
//! | [`piece`], [`request_body`] | pieces of bodies as `bytes`, and what hooks ask of a request's body |
//! | [`attachment`], [`link`] | what is kept for one exchange: views, context; how long it is usable |
//! | [`request_view`], [`headers_view`], [`response_view`], [`attempt_view`], [`upstream_view`], [`failure_view`], [`tls_view`] | what hooks see |
//! | [`heartbeat`], [`hook_times`] | who holds the loop, and for how long |
//! | [`pending`] | the engine's own work as something to await |
//! | [`fetching`], [`fetched_view`], [`fetch_error`] | requests that Python code makes, their responses, what may fail |
//! | [`connection_hooks`], [`connection_view`], [`certificate_view`] | hooks of connections, what they see, what they may show |
//! | [`asgi_fields`], [`raw_stream`] | for mounted applications: fields, the bytes of an upgraded connection |
//! | [`message_hooks`], [`websocket_view`] | what hooks on messages of WebSockets return, and what they see |
//! | [`redis_link`] | commands to Redis |
//! | [`text`], [`report`], [`engine_log`] | bytes as `str`; errors of hooks, and the engine's messages, as log records |
//! | [`zone`], [`dictionary`], [`dictionary_value`] | the shared memory's numbers; users' shared dictionaries |

mod asgi_fields;
mod attachment;
mod attempt_view;
mod body_source;
mod calling;
mod certificate_view;
mod connection_hooks;
mod connection_view;
mod core;
mod dictionary;
mod dictionary_value;
mod engine_log;
mod failure_view;
mod fetch_error;
mod fetched_view;
mod fetching;
mod gil;
mod headers_view;
mod heartbeat;
mod hook_times;
mod hooks;
mod link;
mod message_hooks;
mod pending;
mod piece;
mod raw_stream;
mod redis_link;
mod report;
mod request_body;
mod request_view;
mod response_view;
mod seam;
mod spec;
mod step;
mod text;
mod tls_view;
mod upstream_view;
mod verdict;
mod waiting;
mod websocket_view;
mod zone;

use pyo3::prelude::*;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[pymodule]
mod _core {
    #[pymodule_export]
    use crate::asgi_fields::asgi_fields;
    #[pymodule_export]
    use crate::attempt_view::Attempt;
    #[pymodule_export]
    use crate::certificate_view::Certificate;
    #[pymodule_export]
    use crate::connection_view::{Connection, ProxyInfo};
    #[pymodule_export]
    use crate::core::Core;
    #[pymodule_export]
    use crate::dictionary::{create_dictionary, Dictionary};
    #[pymodule_export]
    use crate::failure_view::Failure;
    #[pymodule_export]
    use crate::fetched_view::{FetchHeaders, FetchResponse, FetchStream};
    #[pymodule_export]
    use crate::fetching::{fetch, fetch_upstream, Upload};
    #[pymodule_export]
    use crate::headers_view::Headers;
    #[pymodule_export]
    use crate::heartbeat::Heartbeat;
    #[pymodule_export]
    use crate::pending::Pending;
    #[pymodule_export]
    use crate::raw_stream::RawStream;
    #[pymodule_export]
    use crate::redis_link::RedisLink;
    #[pymodule_export]
    use crate::request_view::{Client, Request};
    #[pymodule_export]
    use crate::response_view::ResponseView;
    #[pymodule_export]
    use crate::spec::HookSpec;
    #[pymodule_export]
    use crate::tls_view::{ClientCertificate, Tls};
    #[pymodule_export]
    use crate::upstream_view::{ServerView, UpstreamView};
    #[pymodule_export]
    use crate::websocket_view::{WebSocket, WebSocketMessage};
    #[pymodule_export]
    use crate::zone::{check, clear_slot, create_zone, require_fips, tls_module, zone_stats};

    /// The cells that a zone must have at least.
    #[pymodule_export]
    const ZONE_CELLS: u32 = headgate_engine::ZONE_CELLS;
}
