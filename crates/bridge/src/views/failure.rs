//! What went wrong, as `error` hooks see it.

use std::rc::Rc;

use headgate_engine::{retry_name, Exchange, Facts};
use pyo3::prelude::*;

/// A request that could not be served.
#[pyclass(frozen, get_all, module = "headgate._core")]
pub(crate) struct Failure {
    /// The kind, for instance `connect_failed` or `upstream_head_timeout`.
    kind: &'static str,
    /// `client`, `upstream` or `gateway`.
    source: &'static str,
    /// The status that the client gets if no hook responds.
    status: u16,
    /// One sentence.
    message: String,
    /// Whether a retry is safe: the request was not processed, or repeating it is harmless.
    retry_safe: bool,
}

impl Failure {
    pub(crate) fn new(exchange: &Rc<Exchange>) -> Self {
        match exchange.failure.borrow().as_ref() {
            Some(failure) => Self {
                kind: failure.kind.name(),
                source: failure.source().name(),
                status: failure.status(),
                message: failure.message.to_string(),
                retry_safe: failure.retry_safe(),
            },
            None => Self {
                kind: "",
                source: "gateway",
                status: 500,
                message: String::new(),
                retry_safe: false,
            },
        }
    }
}

#[pymethods]
impl Failure {
    fn __repr__(&self) -> String {
        format!(
            "<Failure {} {} at the fault of the {}>",
            self.status, self.kind, self.source
        )
    }
}

/// A kind of failure: its name, whose fault it is, the status, what a retry may do, how loudly it is logged, its meaning.
type Row = (
    &'static str,
    &'static str,
    u16,
    &'static str,
    &'static str,
    String,
);

/// All kinds of failures, for the reference.
#[pyfunction]
pub(crate) fn failures() -> Vec<Row> {
    let row = |(facts, meaning): (Facts, String)| {
        let (source, level) = (facts.source.name(), facts.level.name());
        (
            facts.name,
            source,
            facts.status,
            retry_name(facts.retry),
            level,
            meaning,
        )
    };
    headgate_engine::failures().into_iter().map(row).collect()
}
