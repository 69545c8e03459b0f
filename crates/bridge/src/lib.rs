//! `headgate._core`: the engine as a Python module. The only crate that names pyo3.
//!
//! | folder | duty; each uses only those above it |
//! |---|---|
//! | [`interpreter`] | the interpreter's lock, contexts and the rest that needs `unsafe`; text and bytes |
//! | [`memory`] | the shared memory's numbers; users' shared dictionaries |
//! | [`event_loop`] | tokio and asyncio as one loop: steps of coroutines, what they wait for, streamed bodies |
//! | [`fetch`] | requests that Python code makes, their responses, what may fail; commands to Redis |
//! | [`views`] | what hooks see of an exchange or a connection, and how long it is usable |
//! | [`calls`] | the table of hooks, one call of one, and what it returned as the engine's verdict |
//! | [`html`] | pages that hooks change while they stream |
//! | [`yaml`] | plain YAML as Python's values |
//! | [`route_test`] | which route of a snapshot would take a request |
//! | [`target_mask`] | secrets of targets, masked |
//! | [`virtual_client`] | for tests: a client in memory |
//! | [`core`] | the loop as asyncio's selector calls it, and the worker's controls |

mod calls;
mod coming;
mod core;
mod event_loop;
mod fetch;
mod html;
mod interpreter;
mod memory;
mod route_test;
mod target_mask;
mod views;
mod virtual_client;
mod yaml;

use pyo3::prelude::*;

#[global_allocator]
static ALLOCATOR: interpreter::gil::Allocator = interpreter::gil::Allocator;

#[pymodule]
mod _core {
    #[pymodule_export]
    use crate::calls::spec::{check_native, phases, HookSpec};
    #[pymodule_export]
    use crate::core::Core;
    #[pymodule_export]
    use crate::event_loop::heartbeat::Heartbeat;
    #[pymodule_export]
    use crate::event_loop::pending::Pending;
    #[pymodule_export]
    use crate::fetch::headers::FetchHeaders;
    #[pymodule_export]
    use crate::fetch::redis::RedisLink;
    #[pymodule_export]
    use crate::fetch::request::{fetch, fetch_upstream};
    #[pymodule_export]
    use crate::fetch::response::{FetchResponse, FetchStream};
    #[pymodule_export]
    use crate::fetch::upload::Upload;
    #[pymodule_export]
    use crate::html::{HtmlRewriter, HtmlRules};
    #[pymodule_export]
    use crate::memory::dictionary::{create_dictionary, Dictionary};
    #[pymodule_export]
    use crate::memory::exporter::{named_counters, Exporter};
    #[pymodule_export]
    use crate::memory::metrics::{Metric, Metrics};
    #[pymodule_export]
    use crate::memory::passed::Passed;
    #[pymodule_export]
    use crate::memory::period::Period;
    #[pymodule_export]
    use crate::memory::servers::{server_states, set_server_state};
    #[pymodule_export]
    use crate::memory::tally::Tally;
    #[pymodule_export]
    use crate::memory::zone::{
        check, create_zone, ensure_local_authority, require_fips, retire_slot, tls_module, zone_stats,
    };
    #[pymodule_export]
    use crate::route_test::explain_route;
    #[pymodule_export]
    use crate::target_mask::TargetMask;
    #[pymodule_export]
    use crate::views::asgi_fields::asgi_fields;
    #[pymodule_export]
    use crate::views::attempt::{Attempt, FailedAttempt};
    #[pymodule_export]
    use crate::views::certificate::Certificate;
    #[pymodule_export]
    use crate::views::client::Client;
    #[pymodule_export]
    use crate::views::connection::{Connection, ProxyInfo};
    #[pymodule_export]
    use crate::views::failure::{failures, Failure};
    #[pymodule_export]
    use crate::views::headers::Headers;
    #[pymodule_export]
    use crate::views::raw_stream::RawStream;
    #[pymodule_export]
    use crate::views::request::Request;
    #[pymodule_export]
    use crate::views::response::ResponseView;
    #[pymodule_export]
    use crate::views::tls::{ClientCertificate, Tls};
    #[pymodule_export]
    use crate::views::upstream::{ServerView, UpstreamView};
    #[pymodule_export]
    use crate::views::websocket::{WebSocket, WebSocketMessage};
    #[pymodule_export]
    use crate::yaml::read_yaml;

    /// The cells that a zone must have at least.
    #[pymodule_export]
    const ZONE_CELLS: u32 = headgate_engine::ZONE_CELLS;
}
