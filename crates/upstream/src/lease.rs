//! Requests on servers, as they are counted in all workers.

use std::rc::Rc;

use headgate_shared::metrics::Metrics;

use crate::group::Upstream;
use crate::queue::Queue;

/// A request on a server; the server's load counts it until this is dropped.
pub struct Lease {
    metrics: Rc<Metrics>,
    cell: u32,
    total_cell: Option<u32>,
    retry_cell: Option<u32>,
    queue: Option<Rc<Queue>>,
}

impl Lease {
    /// Counts one more on that server.
    #[inline]
    pub fn new(metrics: Rc<Metrics>, upstream: &Upstream, server: usize) -> Self {
        let cell = upstream.servers[server].cell;
        let total_cell = upstream.total_cell;
        metrics.enter_server(cell);
        if let Some(cell) = total_cell {
            metrics.enter_server(cell);
        }
        Self {
            metrics,
            cell,
            total_cell,
            retry_cell: None,
            queue: upstream.queue.clone(),
        }
    }

    /// Counts it as a retry, or a hedge, too.
    #[must_use]
    pub fn of_retry(mut self, upstream: &Upstream) -> Self {
        if let Some((_, cell)) = upstream.budget_cells() {
            self.metrics.enter_server(cell);
            self.retry_cell = Some(cell);
        }
        self
    }
}

/// A retry that pauses before it begins, as the budget counts it, until this is dropped.
pub struct PausedRetry {
    metrics: Rc<Metrics>,
    cell: Option<u32>,
}

impl PausedRetry {
    /// Counts one more.
    pub fn new(metrics: Rc<Metrics>, upstream: &Upstream) -> Self {
        let cell = upstream.budget_cells().map(|(_, retries)| retries);
        if let Some(cell) = cell {
            metrics.enter_server(cell);
        }
        Self { metrics, cell }
    }
}

impl Drop for PausedRetry {
    fn drop(&mut self) {
        if let Some(cell) = self.cell {
            self.metrics.leave_server(cell);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.metrics.leave_server(self.cell);
        for cell in [self.total_cell, self.retry_cell].into_iter().flatten() {
            self.metrics.leave_server(cell);
        }
        if let Some(queue) = &self.queue {
            queue.freed();
        }
    }
}
