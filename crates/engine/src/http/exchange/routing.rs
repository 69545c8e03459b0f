//! Which route takes a request.

use std::rc::Rc;

use headgate_route::{host_without_port, normalize_path, Candidate, Fields, Found, Params};
use headgate_wire::RequestHead;

use crate::failure::{Failure, FailureKind};
use crate::hooks::configuration::Configuration;
use crate::hooks::exchange::Exchange;
use crate::http::bodies::failures::hook_failed;

struct HeadFields<'a>(&'a RequestHead);

impl Fields for HeadFields<'_> {
    fn header(&self, name: &str) -> Option<&[u8]> {
        self.0.head.get(name.as_bytes())
    }
}

/// The route of a request, whose parameters are put into the exchange.
pub(super) fn choose_route(exchange: &Rc<Exchange>, tables: &Rc<Configuration>) -> Result<usize, Failure> {
    let mut params: Params = exchange.params.take();
    let request = exchange.request.borrow();
    let path = normalize_path(request.path())
        .map_err(|error| Failure::new(FailureKind::MalformedPath(error), error.to_string()))?;
    let candidate = Candidate {
        host: host_without_port(request.host()),
        path: &path,
        query: request.query(),
        method: request.method(),
    };
    let mut has_failed = false;
    let mut ask = |route: usize| {
        let Some(function) = tables.function(route) else {
            return false;
        };
        // the search ends with a matcher that failed: a later route may be open to those whom this one would keep out
        tables.hooks.matches(function, exchange).unwrap_or_else(|_| {
            has_failed = true;
            true
        })
    };
    let found = tables
        .router
        .find_normal(&candidate, &HeadFields(&request), &mut params, &mut ask);
    drop(request);
    exchange.params.replace(params);
    match found {
        Found::Route(_) if has_failed => Err(hook_failed()),
        Found::Route(route) => Ok(route),
        Found::MethodNotAllowed(methods) => {
            let mut failure = Failure::new(
                FailureKind::MethodNotAllowed,
                format!("allowed here: {}", methods.join(", ")),
            );
            failure.allow = Some(methods.join(", "));
            Err(failure)
        }
        Found::None => Err(Failure::from(FailureKind::NoRoute)),
    }
}
