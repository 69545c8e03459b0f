//! What the dispatcher of an upstream from which workers pull says in place of a worker's response.

use crate::failure::{Failure, FailureKind};
use crate::hooks::exchange::Exchange;
use headgate_upstream::Upstream;

/// The field that names a failure. The dispatcher takes it out of workers' responses.
const FIELD: &[u8] = b"headgate-failure";

/// The failure that a response of the dispatcher stands for, if it does; the response is then forgotten.
#[inline]
pub(super) fn failure(exchange: &Exchange, upstream: &Upstream) -> Option<Failure> {
    upstream.is_pulled().then(|| named(exchange)).flatten()
}

#[cold]
fn named(exchange: &Exchange) -> Option<Failure> {
    let found = {
        let response = exchange.response.borrow();
        let head = &response.as_ref()?.head;
        let mut failure = Failure::from(kind(head.get(FIELD)?)?);
        let seconds = head
            .get(b"retry-after")
            .and_then(|value| std::str::from_utf8(value).ok());
        failure.retry_after = seconds.map(str::to_owned);
        failure
    };
    exchange.response.replace(None);
    Some(found)
}

fn kind(name: &[u8]) -> Option<FailureKind> {
    Some(match name {
        b"pull_queue_full" => FailureKind::PullQueueFull,
        b"pull_wait_timeout" => FailureKind::PullWaitTimeout,
        b"pull_worker_lost" => FailureKind::PullWorkerLost,
        b"pull_worker_timeout" => FailureKind::PullWorkerTimeout,
        b"pull_bad_response" => FailureKind::PullBadResponse,
        b"pull_deadline" => FailureKind::DeadlineExceeded,
        _ => return None,
    })
}
