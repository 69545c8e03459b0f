//! A field by which a gateway says that it is overloaded, so that those before it do not send the request again: retries of
//! several layers would multiply, just where there is no room for one of them.
//!
//! It is Envoy's, which other gateways heed as well: whoever sees it retries neither there nor elsewhere.

use headgate_wire::Head;

use crate::failure::FailureKind;

/// Its name; its value is `true`.
pub(crate) const FIELD: &str = "x-envoy-overloaded";

/// Whether a server that is a gateway says so of itself, or of one behind it.
pub(crate) fn is_told(head: &Head) -> bool {
    head.get(FIELD.as_bytes()).is_some()
}

/// What is said of a failure; none if it is not for lack of room.
pub(crate) fn told_of(kind: FailureKind) -> Option<&'static str> {
    use FailureKind::{CircuitOpen, PullQueueFull, PullWaitTimeout, QueueFull, QueueShed, QueueTimeout};
    let is_overload = matches!(
        kind,
        CircuitOpen | PullQueueFull | PullWaitTimeout | QueueFull | QueueShed | QueueTimeout
    );
    is_overload.then_some("true")
}
