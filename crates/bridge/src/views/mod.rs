//! What hooks see: requests, responses, connections and their parts, read from the engine when asked for.

pub(crate) mod asgi_fields;
pub(crate) mod attachment;
pub(crate) mod attempt;
pub(crate) mod certificate;
pub(crate) mod client;
pub(crate) mod connection;
pub(crate) mod failure;
pub(crate) mod headers;
pub(crate) mod plain_path;
pub(crate) mod raw_stream;
pub(crate) mod request;
pub(crate) mod request_body;
pub(crate) mod response;
pub(crate) mod tls;
pub(crate) mod upstream;
pub(crate) mod websocket;
