//! From a request to its route.

use std::rc::Rc;

use headgate_route::{other_readings, Candidate, Fields, Found, Params};
use headgate_wire::RequestHead;

use super::paths;
use crate::failure::{Failure, FailureKind};
use crate::hooks::configuration::Configuration;
use crate::hooks::exchange::Exchange;
use crate::http::bodies::failures::hook_failed;

/// The route of a request whose path is settled; `is_plain`: no server can read another path in it.
pub(super) fn choose_route(
    exchange: &Rc<Exchange>,
    tables: &Rc<Configuration>,
    is_plain: bool,
) -> Result<usize, Failure> {
    let mut params = Params::new();
    let found = find_route(exchange, tables, None, &mut params)?;
    if !params.is_empty() {
        exchange.params.replace(params);
    }
    match found {
        Found::Route(route) => {
            if !is_plain {
                refuse_other_readings(exchange, tables, route)?;
            }
            Ok(route)
        }
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

/// What the router finds for the request, or of the request with `another_path`.
fn find_route(
    exchange: &Rc<Exchange>,
    tables: &Rc<Configuration>,
    another_path: Option<&[u8]>,
    params: &mut Params,
) -> Result<Found, Failure> {
    let request = exchange.request.borrow();
    let candidate = Candidate {
        host: request.host(),
        path: another_path.unwrap_or(request.path()),
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
        .router()
        .find_normal(&candidate, &HeadFields(&request), params, &mut ask);
    if has_failed && matches!(found, Found::Route(_)) {
        return Err(hook_failed());
    }
    Ok(found)
}

/// Refuses a request that a server may take for one to which another rule applies.
fn refuse_other_readings(
    exchange: &Rc<Exchange>,
    tables: &Rc<Configuration>,
    route: usize,
) -> Result<(), Failure> {
    let readings = other_readings(exchange.request.borrow().path());
    for reading in readings {
        match find_route(exchange, tables, Some(&reading), &mut Params::new())? {
            Found::Route(other) if other != route && paths::is_another_rule(tables, route, other) => {
                return Err(paths::ambiguous());
            }
            _ => {}
        }
    }
    Ok(())
}

struct HeadFields<'a>(&'a RequestHead);

impl Fields for HeadFields<'_> {
    fn header(&self, name: &str) -> Option<&[u8]> {
        self.0.head.get(name.as_bytes())
    }
}
