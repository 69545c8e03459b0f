//! What the error log says of a request that failed at its server.

use headgate_upstream::ServerFailure;

use super::Shared;
use crate::failure::{Failure, FaultSide};
use crate::hooks::exchange::Exchange;

/// Logs a failure that is the fault of the exchange's server; others are logged where the request ends.
pub(crate) fn log_server_failure(shared: &Shared, exchange: &Exchange, failure: &Failure) {
    let (true, Some(server)) = (failure.source() == FaultSide::Upstream, exchange.server.get()) else {
        return;
    };
    let (tables, named) = (exchange.tables.borrow(), exchange.other_upstream());
    let of_tables = exchange.upstream.get().map(|index| &tables.upstreams[index]);
    let Some(upstream) = named.as_ref().or(of_tables) else {
        return;
    };
    let kind = failure.kind.name();
    let limit = exchange.limit.get();
    let route = exchange.route_name();
    let request_id = shared.request_id(exchange);
    let failure = ServerFailure {
        kind,
        message: &failure.message,
        detail: failure.detail.as_deref(),
        // that of an earlier attempt stays in the exchange
        limit: (kind.ends_with("timeout") && !limit.is_empty()).then_some(limit),
        route: (!route.is_empty()).then_some(&*route),
        request_id: Some(&request_id),
    };
    upstream.log_failure(server, &failure, shared.clock.now_us());
}
