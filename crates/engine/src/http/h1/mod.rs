//! HTTP/1 on both sides: bodies, tunnels, heads. The framing itself is `headgate_wire`'s.

pub(crate) mod alt_svc;
mod certificate_fields;
pub(crate) mod disconnect;
pub(crate) mod forwarded;
pub(crate) mod read_head;
pub(crate) mod relay;
pub(crate) mod request_head;
pub(crate) mod response_head;
pub(crate) mod server_timing;
pub(crate) mod splice;
pub(crate) mod tunnel;
