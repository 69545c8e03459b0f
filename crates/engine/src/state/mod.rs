//! What the connections of a worker share.

pub(crate) mod admission;
pub(crate) mod request_futures;
pub(crate) mod request_id;
