//! What bodies that cannot go on become.

use super::request_body::BodyBroken;
use crate::failure::{Failure, FailureKind};
use crate::hooks::exchange::Exchange;

/// The failure of a body beyond its limit.
pub(crate) fn too_large() -> Failure {
    Failure::from(FailureKind::BodyTooLarge)
}

/// Turns a broken request body into the exchange's failure.
pub(crate) fn body_failure(broken: &BodyBroken, exchange: &Exchange) -> Failure {
    use headgate_net::peer::Broken::{Closed, Io, Limit};
    match broken {
        BodyBroken::TooLarge => too_large(),
        BodyBroken::Framing(error) => Failure::new(FailureKind::MalformedBody(*error), error.to_string()),
        BodyBroken::Client(Limit(limit)) => {
            exchange.limit.set(limit.name());
            Failure::from(FailureKind::ClientBodyTimeout)
        }
        BodyBroken::Client(Closed | Io(_)) => Failure::client_disconnected(),
        BodyBroken::Failed(failure) => (**failure).clone(),
        BodyBroken::Server => Failure::new(
            FailureKind::UpstreamReset,
            "the server closed the connection during the request",
        ),
    }
}

/// A temporary file that failed, most likely because the disk is full.
pub(crate) fn spool_failure(error: &std::io::Error) -> Failure {
    Failure::new(
        FailureKind::SpoolFailed,
        format!("the body could not be kept in a temporary file: {error}"),
    )
}

/// A request's body that a hook wants whole, and that is too large for that.
pub(crate) fn held_too_large() -> Failure {
    Failure::from(FailureKind::HeldBodyTooLarge)
}

/// A client that stops within its body.
pub(crate) fn client_body_timeout() -> Failure {
    Failure::from(FailureKind::ClientBodyTimeout)
}

/// A hook that failed closed.
pub(crate) fn hook_failed() -> Failure {
    Failure::new(
        FailureKind::HookFailed,
        "the gateway could not handle this request",
    )
}
