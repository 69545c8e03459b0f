//! The span of a fetch from the gateway's own routes: what the fetched request is told as its parent, and what is recorded.

use std::rc::Rc;

use super::{follow, FetchError, FetchRequest, FetchTo, Fetched};
use crate::hooks::exchange::Exchange;
use crate::state::Shared;
use crate::trace::FetchSpan;

/// Makes a request and awaits the response's head.
pub(crate) async fn fetch(shared: Rc<Shared>, mut request: FetchRequest) -> Result<Fetched, FetchError> {
    shared.clock.tick();
    let traced = Traced::begin(&shared, &mut request);
    let outcome = follow(&shared, request).await;
    if let Some(traced) = traced {
        traced.end(&outcome);
    }
    outcome
}

/// One that is under way; what becomes of it is recorded when this is dropped, also where nobody waits any more.
struct Traced {
    exchange: Rc<Exchange>,
    shared: Rc<Shared>,
    span: Option<FetchSpan>,
}

impl Traced {
    /// Begins a span of the request on whose behalf the fetch is, unless that belongs to no trace or the hook has named
    /// another parent.
    fn begin(shared: &Rc<Shared>, request: &mut FetchRequest) -> Option<Self> {
        let FetchTo::Own(exchange, target) = &request.to else {
            return None;
        };
        let place = exchange.trace.get()?;
        if request.headers.get(b"traceparent").is_some() {
            return None;
        }
        let begun = &exchange.rare().fetches_begun;
        let number = begun.get();
        begun.set(number + 1);
        let told = place.of_fetch(number);
        request.headers.set(b"traceparent", &told.text()).ok()?;
        Some(Self {
            exchange: exchange.clone(),
            shared: shared.clone(),
            span: Some(FetchSpan {
                id: told.span_id,
                method: request.method.clone(),
                target: shared.tables().target_mask.apply(target).into_owned(),
                status: 0,
                error: "cancelled",
                start_us: shared.clock.unix_us(shared.clock.tick()),
                end_us: 0,
            }),
        })
    }

    /// What has become of it.
    fn end(mut self, outcome: &Result<Fetched, FetchError>) {
        if let Some(span) = &mut self.span {
            (span.status, span.error) = match outcome {
                Ok(fetched) if fetched.head.status >= 400 => (fetched.head.status, "status"),
                Ok(fetched) => (fetched.head.status, ""),
                Err(error) => (0, error.kind.name()),
            };
        }
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        if let Some(mut span) = self.span.take() {
            span.end_us = self.shared.clock.unix_us(self.shared.clock.tick());
            self.exchange.rare().fetches.borrow_mut().push(span);
        }
    }
}
