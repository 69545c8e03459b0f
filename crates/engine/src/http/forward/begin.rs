//! How an attempt begins: hooks and the balancer choose its server, the circuit lets it on, and it is counted; and how its end is
//! noted.

use headgate_route::Tried;

use super::choice::{choose_server, other_server, show_servers};
use super::deadline;
use super::plan::Plan;
use super::pulled;
use crate::failure::Failure;
use crate::hooks::exchange::Exchange;
use crate::hooks::HookResponse;
use crate::http::phases::run_hooks;
use crate::state::connection::Connection;
use crate::state::server_failures::log_server_failure;
use crate::state::Shared;
use crate::trace::FailedAttempt;
use headgate_shared::metrics::Counter;
use headgate_upstream::{FailedBy, Lease, Pass};

/// Why an attempt is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Why {
    First,
    /// Another one has failed; its response, if it had one, was given up for this server.
    Retry(Option<usize>),
    /// Another one has no response yet.
    Hedge,
}

/// An attempt that has begun: its server has this request in flight until it is dropped.
pub(super) struct Begun<'a> {
    pub(super) server: usize,
    /// From 1.
    pub(super) number: u32,
    pub(super) why: Why,
    /// When, on the worker's clock; known where traces are wanted.
    pub(super) began_us: u64,
    pub(super) lease: Lease,
    pub(super) pass: Pass<'a>,
}

/// What came of beginning one.
pub(super) enum Begin<'a> {
    Begun(Begun<'a>),
    /// A hook has responded.
    Reply(Box<HookResponse>),
    /// Every server was tried.
    NoServer,
    CircuitOpen,
}

/// Begins an attempt.
#[inline]
pub(super) async fn begin<'a>(
    connection: &mut Connection,
    plan: &'a Plan<'a>,
    shared: &'a Shared,
    tried: &mut Tried,
    why: Why,
) -> Result<Begin<'a>, Failure> {
    let exchange = plan.exchange;
    if !plan.balance.is_empty() {
        show_servers(shared, plan, tried);
        if let Some(reply) = run_hooks(connection, exchange, plan.balance).await? {
            return Ok(Begin::Reply(reply));
        }
    }
    let server = match why {
        Why::First => choose_server(connection, plan, tried, None).await?,
        Why::Retry(next) => choose_server(connection, plan, tried, next).await?,
        Why::Hedge => other_server(shared, plan, tried),
    };
    let Some(server) = server else {
        return Ok(Begin::NoServer);
    };
    let Some(pass) = plan.upstream.pass(&shared.metrics) else {
        return Ok(Begin::CircuitOpen);
    };
    tried.insert(server);
    if why != Why::Hedge {
        connection.watch.bind(plan.upstream.servers[server].identity);
    }
    let lease = enter(shared, plan, server, why);
    let begun = Begun {
        server,
        number: exchange.attempt.get(),
        why,
        began_us: exchange.timings.attempt_us.get(),
        lease,
        pass,
    };
    if !plan.hooks.is_empty() {
        if let Some(reply) = run_hooks(connection, exchange, plan.hooks).await? {
            return Ok(Begin::Reply(reply));
        }
    }
    Ok(Begin::Begun(begun))
}

/// Counts an attempt on a server.
#[inline]
fn enter(shared: &Shared, plan: &Plan<'_>, server: usize, why: Why) -> Lease {
    let exchange = plan.exchange;
    if why != Why::First {
        count_further(shared, plan, server, why);
    }
    exchange.attempt.set(exchange.attempt.get() + 1);
    exchange.server.set(Some(server));
    if let Some(rare) = exchange.known_rare() {
        rare.shown_attempt.set(0);
    }
    if let Some(place) = exchange.trace.get() {
        exchange.timings.attempt_us.set(shared.clock.now_us());
        exchange.tell_of_trace(&place.of_attempt(exchange.attempt.get()));
    }
    deadline::tell(shared, exchange);
    let lease = Lease::new(shared.metrics.clone(), plan.upstream, server);
    if why == Why::First {
        lease
    } else {
        lease.of_retry(plan.upstream)
    }
}

#[cold]
fn count_further(shared: &Shared, plan: &Plan<'_>, server: usize, why: Why) {
    let upstream = plan.exchange.configured_upstream();
    let server = plan.exchange.place_in_tables(server);
    let series = plan.tables.series.as_ref();
    if why == Why::Hedge {
        shared.metrics.count(Counter::Hedges);
        series.inspect(|series| series.hedged(upstream, server));
    } else {
        shared.metrics.count(Counter::Retries);
        series.inspect(|series| series.retried(upstream, server));
    }
}

impl Begun<'_> {
    /// Has the exchange say of its server and number what is so for this attempt.
    pub(super) fn show(&self, exchange: &Exchange) {
        exchange.server.set(Some(self.server));
        exchange.timings.attempt_us.set(self.began_us);
        if exchange.trace.get().is_some() {
            exchange.rare().shown_attempt.set(self.number);
        }
    }

    /// A response came, whatever it says; its status. The dispatcher's may stand for a failure.
    #[inline]
    pub(super) fn responded(&mut self, shared: &Shared, plan: &Plan<'_>) -> Result<u16, Failure> {
        let exchange = plan.exchange;
        let status = exchange.response.borrow().as_ref().map_or(0, |head| head.status);
        let took_us = exchange.timings.head_us.get();
        plan.upstream.responded(
            self.server,
            shared.clock.now_ms(),
            (status, took_us),
            &shared.metrics,
        );
        if let Some(failure) = pulled::failure(exchange, plan.upstream) {
            log_server_failure(shared, exchange, &failure);
            return Err(failure);
        }
        self.pass.responded(status);
        Ok(status)
    }

    /// Its server is to blame that there is none. The exchange shows this attempt.
    pub(super) fn failed(&mut self, shared: &Shared, plan: &Plan<'_>, failed: &Failure) {
        log_server_failure(shared, plan.exchange, failed);
        shared.metrics.count(Counter::UpstreamFailures);
        if let Some(series) = &plan.tables.series {
            let server = plan.exchange.place_in_tables(self.server);
            series.attempt_failed(plan.exchange.configured_upstream(), server);
        }
        self.given_up(shared, plan, (0, failed.kind.name()));
        let by = FailedBy::of(failed.kind.facts().name);
        plan.upstream
            .failed(self.server, shared.clock.now_ms(), by, &shared.metrics);
        self.pass.failed(by);
    }

    /// Keeps it for its span: it failed, or its response, if it had one, is given up for that of another one.
    pub(super) fn given_up(&self, shared: &Shared, plan: &Plan<'_>, (status, error): (u16, &'static str)) {
        if plan.exchange.trace.get().is_none() {
            return;
        }
        let mut attempts = plan.exchange.rare().failed_attempts.borrow_mut();
        attempts.push(FailedAttempt {
            number: self.number,
            upstream: plan.upstream.name.clone(),
            server: plan.upstream.servers[self.server].name.clone(),
            status,
            error,
            start_us: shared.clock.unix_us(self.began_us),
            end_us: shared.clock.unix_us(shared.clock.tick()),
        });
    }
}
