//! What bodies that cannot go on become.

use super::request_body::BodyBroken;
use crate::failure::Failure;
use crate::hooks::exchange::Exchange;

/// The failure of a body beyond its limit.
pub(crate) fn too_large() -> Failure {
    Failure::client(
        "body_too_large",
        413,
        "the request's body is larger than the limit",
    )
}

/// Turns a broken request body into the exchange's failure.
pub(crate) fn body_failure(broken: &BodyBroken, exchange: &Exchange) -> Failure {
    use crate::peer::Broken::{Closed, Io, Limit};
    match broken {
        BodyBroken::TooLarge => too_large(),
        BodyBroken::Framing(error) => Failure::client(error.reason(), 400, error.to_string()),
        BodyBroken::Client(Limit(limit)) => {
            exchange.limit.set(limit.name());
            Failure::client(
                "client_body_timeout",
                408,
                "the client took too long to send the request's body",
            )
        }
        BodyBroken::Client(Closed | Io(_)) => Failure::client_left(),
        BodyBroken::Failed(failure) => (**failure).clone(),
        BodyBroken::Server => Failure::upstream(
            "upstream_reset",
            502,
            "the server closed the connection during the request",
            false,
        ),
    }
}

/// A temporary file that failed, most likely because the disk is full.
pub(crate) fn spool_failure(error: &std::io::Error) -> Failure {
    Failure::gateway(
        "spool_failed",
        500,
        format!("the body could not be kept in a temporary file: {error}"),
    )
}

/// A request's body that a hook wants whole, and that is too large for that.
pub(crate) fn held_too_large() -> Failure {
    Failure::client(
        "buffered_body_too_large",
        413,
        "the request's body is larger than is held for a hook",
    )
}

/// A client that stops within its body.
pub(crate) fn late_client() -> Failure {
    Failure::client(
        "client_body_timeout",
        408,
        "the client took too long to send the request's body",
    )
}

/// A hook that failed closed.
pub(crate) fn hook_failed() -> Failure {
    Failure::gateway("hook_failed", 500, "the gateway could not handle this request")
}
