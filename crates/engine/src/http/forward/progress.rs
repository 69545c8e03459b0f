//! Attempts at an upstream, and at those that take its place while the request waits for a server.

use std::rc::Rc;

use headgate_route::Tried;
use headgate_upstream::Upstream;

use super::attempts;
use super::plan::Plan;
use crate::failure::Failure;
use crate::hooks::configuration::Configuration;
use crate::hooks::exchange::Exchange;
use crate::http::bodies::request_body::RequestBody;
use crate::http::reply::Outcome;
use crate::state::connection::Connection;

/// How far a request has come.
#[derive(Default)]
pub(super) struct Progress {
    /// Servers that had an attempt, by their places in the upstream.
    pub(super) tried: Tried,
    /// Attempts.
    pub(super) made: u32,
    /// What the last one has failed by.
    pub(super) failure: Option<Failure>,
}

impl Progress {
    /// The same in an upstream that has taken the place of `former`.
    fn in_upstream(&mut self, former: &Upstream, next: &Upstream) {
        let was_tried = |name: &str| {
            let place = former.servers.iter().position(|server| server.name == name);
            place.is_some_and(|place| self.tried.contains(place))
        };
        let servers = next.servers.iter().enumerate();
        let tried = servers.filter(|(_, server)| was_tried(&server.name));
        self.tried = tried.map(|(place, _)| place).collect();
    }
}

/// Makes attempts until one has a response; also the upstream that the last one was made at.
pub(super) async fn serve(
    connection: &mut Connection,
    exchange: &Rc<Exchange>,
    tables: &Rc<Configuration>,
    mut upstream: Rc<Upstream>,
    (here, body): (&[u8], &mut RequestBody),
) -> (Rc<Upstream>, Result<Outcome, Failure>) {
    let mut progress = Progress::default();
    loop {
        let plan = Plan::new(&connection.shared, exchange, tables, &upstream);
        let served = attempts(connection, &plan, here, body, &mut progress).await;
        let moved_to = plan.moved_to.take();
        drop(plan);
        let Some(next) = moved_to else {
            return (upstream, served);
        };
        progress.in_upstream(&upstream, &next);
        exchange.rare().moved_to.replace(Some(next.clone()));
        upstream = next;
    }
}
