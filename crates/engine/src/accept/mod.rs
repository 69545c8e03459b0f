//! From a socket to something that is served: the listener, what comes before the first request, and who may come in.

pub(crate) mod listener;
pub(crate) mod preread;
pub(crate) mod protocol;
