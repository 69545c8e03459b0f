//! What a request's deadline does: it ends the wait for servers, and servers are told what is left of it.

use std::future::Future;
use std::time::Duration;

use headgate_shared::metrics::Counter;

use crate::failure::{Failure, FailureKind};
use crate::hooks::exchange::Exchange;
use crate::state::Shared;

/// Serves a request until its deadline; one whose deadline has passed is not begun.
pub(super) async fn within<T>(
    shared: &Shared,
    exchange: &Exchange,
    served: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let (left_us, is_grpc) = match &*exchange.rare().deadline.borrow() {
        Some(deadline) => (deadline.left_us(shared.clock.tick()), deadline.is_grpc()),
        None => (u64::MAX, false),
    };
    if left_us > 0 {
        let served = tokio::time::timeout(Duration::from_micros(left_us), served).await;
        if let Ok(served) = served {
            return served;
        }
    }
    shared.metrics.count(Counter::TimeoutDeadline);
    exchange.limit.set("deadline");
    Err(Failure::from(if is_grpc {
        FailureKind::GrpcDeadlineExceeded
    } else {
        FailureKind::DeadlineExceeded
    }))
}

/// Tells the server of the next attempt how long it has.
#[inline]
pub(super) fn tell(shared: &Shared, exchange: &Exchange) {
    if exchange.has_deadline() {
        write(shared, exchange);
    }
}

#[cold]
fn write(shared: &Shared, exchange: &Exchange) {
    if let Some(deadline) = &*exchange.rare().deadline.borrow() {
        for (name, value) in deadline.fields(shared.clock.tick()) {
            let mut request = exchange.request.borrow_mut();
            // a head that is full goes on as it came: the deadline itself ends the wait all the same
            let _ = request.head.set(name.as_bytes(), value.as_bytes());
        }
    }
}
