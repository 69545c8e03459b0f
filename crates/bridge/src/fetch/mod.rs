//! What Python code asks others: requests through the pools, and Redis.

pub(crate) mod error;
pub(crate) mod headers;
pub(crate) mod redis;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod upload;
