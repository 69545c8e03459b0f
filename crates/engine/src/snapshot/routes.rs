//! Routes, what they do, and their hooks.

use headgate_route::Metadata;
use serde::Deserialize;

use super::{HookLists, RouteTimeouts};

/// A route.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Its name, for hooks and logs.
    pub name: String,
    /// Host patterns; none for all.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// The path pattern.
    pub path: String,
    /// Methods; none for all.
    #[serde(default)]
    pub methods: Vec<String>,
    /// Conditions on header fields.
    #[serde(default)]
    pub headers: Vec<(String, Option<String>)>,
    /// Conditions on query parameters.
    #[serde(default)]
    pub queries: Vec<(String, Option<String>)>,
    /// A matcher function.
    #[serde(default)]
    pub function: Option<usize>,
    /// Higher goes first.
    #[serde(default)]
    pub priority: i32,
    /// What is done with the request.
    pub action: Action,
    /// The metadata that its servers must have; none for any.
    #[serde(default)]
    pub subset: Metadata,
    /// Taken off the path before it is sent on.
    #[serde(default)]
    pub strip_prefix: Option<String>,
    /// Put before the path (in place of `strip_prefix`) when it is sent on.
    #[serde(default)]
    pub replace_prefix: Option<String>,
    /// Whether it needs a valid client certificate; absent: as the listener requires.
    #[serde(default)]
    pub needs_client_certificate: Option<bool>,
    /// The route's own body limit.
    #[serde(default)]
    pub max_body_bytes: Option<u64>,
    /// The bandwidth that its requests may use.
    #[serde(default)]
    pub bandwidth: Vec<Bandwidth>,
    /// The route's own timeouts.
    #[serde(default)]
    pub timeouts: Option<RouteTimeouts>,
    /// The buckets of its durations, in microseconds and in order; none for the usual ones.
    #[serde(default)]
    pub buckets: Vec<u64>,
    /// The route's hooks, all that run for it, in order.
    #[serde(default, deserialize_with = "HookLists::of_route")]
    pub hooks: HookLists,
}

/// A limit of bandwidth, in bytes a second.
#[derive(Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Bandwidth {
    /// From clients.
    pub up: Option<u64>,
    /// To clients.
    pub down: Option<u64>,
    /// Who shares it.
    pub per: SharedBy,
}

/// Who shares a bandwidth.
#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum SharedBy {
    /// Nobody.
    Request,
    /// The requests of a connection.
    Connection,
    /// Those of a client's address, on the route.
    Client,
    /// Those of the route.
    Route,
}

/// What becomes of the routes of a snapshot that come from resources; all else stays.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct Difference {
    /// Routes that are new, or replace those of their names.
    pub set: Vec<Route>,
    /// Names of routes that are no more.
    pub removed: Vec<String>,
}

/// What a route does.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Action {
    /// Sends the request to an upstream.
    Proxy {
        /// An index into `upstreams`.
        upstream: usize,
    },
    /// Responds with a redirect.
    Redirect {
        /// 301, 302, 303, 307 or 308.
        status: u16,
        /// May hold `{scheme}`, `{host}`, `{path}`, `{query}`, `{target}` and path parameters.
        location: String,
    },
    /// Responds with a fixed text.
    Respond {
        /// 200 to 599.
        status: u16,
        /// Further fields.
        headers: Vec<(String, String)>,
        /// The body.
        body: String,
    },
    /// Responds with files of a folder.
    Files {
        /// The folder.
        root: String,
        /// Names tried for a folder.
        index: Vec<String>,
    },
    /// A `request` hook responds; 404 if none does.
    Hooks {},
}

/// A hook of a body phase.
#[derive(Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct BodyHook {
    /// An index into the table of hooks.
    pub hook: usize,
    /// In pieces, or whole.
    pub mode: BodyMode,
    /// The longest body that it takes whole.
    pub limit: u64,
    /// It wants what is under the Content-Encoding.
    pub decode: bool,
}

/// How a hook takes a body.
#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum BodyMode {
    /// Piece by piece.
    Stream,
    /// Whole, in one call.
    Buffer,
}
