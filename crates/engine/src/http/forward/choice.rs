//! Which server gets an attempt.

use std::rc::Rc;

use headgate_route::Tried;
use headgate_upstream::{Upstream, Wanted};

use super::plan::Plan;
use super::queue;
use crate::failure::Failure;
use crate::state::connection::Connection;
use crate::state::Shared;

/// Shows `balance` hooks what they choose from.
pub(super) fn show_servers(shared: &Shared, plan: &Plan<'_>, tried: &Tried) {
    let rare = plan.exchange.rare();
    rare.tried.replace(tried.clone());
    rare.subset.take();
    let loads = plan.upstream.loads(shared.clock.now_ms(), &shared.metrics);
    rare.loads.replace(loads);
}

/// The server of the next attempt: the one that a hook chose, or that a response was given up for, or that the client has a
/// connection to or a session with, or whichever is best; none if every one was tried.
#[inline]
pub(super) async fn choose_server(
    connection: &mut Connection,
    plan: &Plan<'_>,
    tried: &Tried,
    next: Option<usize>,
) -> Result<Option<usize>, Failure> {
    let chosen = plan.exchange.picked.take().or(next);
    let reserved = || reserved_server(connection, plan.upstream, tried);
    let of_session = || {
        let session = plan.session.as_ref()?;
        let subset = plan.subset();
        let goes_on = |server| {
            plan.upstream.resumes(
                server,
                subset.as_deref(),
                connection.shared.clock.now_ms(),
                &connection.shared.metrics,
            )
        };
        session.server(tried).filter(|server| goes_on(*server))
    };
    match chosen.or_else(reserved).or_else(of_session) {
        Some(server) => Ok(Some(server)),
        None => queue::server(connection, plan, tried).await,
    }
}

/// The server that the client has a connection of its own to, if that was not tried yet.
fn reserved_server(connection: &Connection, upstream: &Rc<Upstream>, tried: &Tried) -> Option<usize> {
    let own = connection.reserved_server.as_ref()?;
    (Rc::ptr_eq(&own.upstream, upstream) && !tried.contains(own.server)).then_some(own.server)
}

/// The server of an attempt beside others: the one that a hook chose, or whichever is best; none that was tried, and no wait.
#[cold]
pub(super) fn other_server(shared: &Shared, plan: &Plan<'_>, tried: &Tried) -> Option<usize> {
    let chosen = plan.exchange.picked.take();
    let chosen = chosen.filter(|server| !tried.contains(*server));
    chosen.or_else(|| pick(shared, plan, tried))
}

/// The server that is best now; none of those that were tried.
#[inline]
pub(super) fn pick(shared: &Shared, plan: &Plan<'_>, tried: &Tried) -> Option<usize> {
    let request = plan.exchange.request.borrow();
    let subset = plan.subset();
    let wanted = Wanted {
        key: plan.upstream.key(&request, &plan.exchange.client.address),
        subset: subset.as_deref(),
    };
    plan.upstream
        .pick(shared.clock.now_ms(), wanted, tried, &shared.metrics)
}
