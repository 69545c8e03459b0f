//! The engine's trait [`Hooks`] over a table of Python functions.

use std::io;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use headgate_engine::websocket::{Message, Party};
use headgate_engine::{
    BodyStep, BodyVerdict, Chunk, ChunkStep, ConnectionState, Exchange, HookTime, Hooks, LocalFuture,
    MessageStep, Read, Step, Verdict,
};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyContext, PySequence};

use crate::attachment::Attachment;
use crate::attempt_view::Attempt;
use crate::connection_hooks;
use crate::failure_view::Failure;
use crate::gil::{self, Entered};
use crate::heartbeat::InPython;
use crate::hook_times::Shown;
use crate::message_hooks;
use crate::piece::PyPiece;
use crate::report::Origin;
use crate::request_view::Request;
use crate::seam::Seam;
use crate::spec::{Hook, OnError, Phase};
use crate::step::{first_step, to_coroutine, First};
use crate::upstream_view::UpstreamView;
use crate::verdict::Converter;
use crate::waiting::{Outcome, Waiting};

/// The hooks of one snapshot.
pub(crate) struct PyHooks {
    seam: Rc<Seam>,
    hooks: Vec<Rc<Hook>>,
}

/// What a body hook is called with.
struct Piece<'a> {
    chunk: &'a Chunk,
    is_last: bool,
}

impl Hooks for PyHooks {
    fn call(&self, hook: usize, exchange: &Rc<Exchange>) -> Step {
        let hook = &self.hooks[hook];
        Python::attach(|py| {
            let began = exchange.now_us();
            let step = guarded(py, hook, exchange, || self.run(py, hook, exchange, began));
            self.seam.notice_work(py);
            let step = step.unwrap_or_else(|| Step::Ready(failed(hook)));
            let us = exchange.tick_us() - began;
            hook.times.ran(us);
            if matches!(step, Step::Ready(_)) {
                ended(hook, exchange, us);
            }
            step
        })
    }

    fn connection(&self, hook: usize, connection: &Rc<ConnectionState>) -> Step {
        Python::attach(|py| {
            let step = connection_hooks::call(py, &self.seam, &self.hooks[hook], connection);
            self.seam.notice_work(py);
            step
        })
    }

    fn chunk(&self, hook: usize, connection: &Rc<ConnectionState>, chunk: &[u8]) -> ChunkStep {
        Python::attach(|py| {
            let step = connection_hooks::chunk(py, &self.seam, &self.hooks[hook], connection, chunk);
            self.seam.notice_work(py);
            step
        })
    }

    fn call_body(&self, hook: usize, exchange: &Rc<Exchange>, chunk: &Chunk, is_last: bool) -> BodyStep {
        let hook = &self.hooks[hook];
        Python::attach(|py| {
            let began = exchange.now_us();
            let piece = Piece { chunk, is_last };
            let step = guarded(py, hook, exchange, || {
                self.run_body(py, hook, exchange, &piece, began)
            });
            self.seam.notice_work(py);
            let step = step.unwrap_or_else(|| BodyStep::Ready(body_failed(hook)));
            let us = exchange.tick_us() - began;
            hook.times.ran(us);
            if matches!(step, BodyStep::Ready(_)) {
                ended(hook, exchange, us);
            }
            step
        })
    }

    fn message(&self, hook: usize, exchange: &Rc<Exchange>, message: &Message, from: Party) -> MessageStep {
        let hook = &self.hooks[hook];
        Python::attach(|py| {
            let began = exchange.now_us();
            let step = guarded(py, hook, exchange, || {
                message_hooks::run(py, &self.seam, hook, exchange, (message, from), began)
            });
            self.seam.notice_work(py);
            let step = step.unwrap_or_else(|| MessageStep::Ready(message_hooks::failed(hook)));
            let us = exchange.tick_us() - began;
            hook.times.ran(us);
            if matches!(step, MessageStep::Ready(_)) {
                ended(hook, exchange, us);
            }
            step
        })
    }

    fn piece(&self, bytes: &[u8]) -> Chunk {
        Python::attach(|py| PyPiece::copied(py, bytes))
    }

    fn read_piece(&self, most: usize, read: Read<'_>) -> Poll<io::Result<Chunk>> {
        Python::attach(|py| PyPiece::read(py, most, read))
    }

    fn matches(&self, function: usize, exchange: &Rc<Exchange>) -> bool {
        let hook = &self.hooks[function];
        Python::attach(|py| {
            let matches = guarded(py, hook, exchange, || {
                let (request, context) = Attachment::views(py, exchange)?;
                let _entered = Entered::new(&context)?;
                hook.function.bind(py).call1((request,))?.is_truthy()
            });
            self.seam.notice_work(py);
            exchange.tick_us();
            matches.unwrap_or(false)
        })
    }

    fn breathe(&self) {
        Python::attach(gil::breathe);
    }
}

impl PyHooks {
    /// Reads the table.
    pub(crate) fn new(seam: Rc<Seam>, specs: &Bound<'_, PySequence>) -> PyResult<Self> {
        let hooks = specs
            .try_iter()?
            .map(|spec| Hook::read(&spec?, &seam.beat).map(Rc::new))
            .collect::<PyResult<_>>()?;
        Ok(Self { seam, hooks })
    }

    /// What each hook has taken, in the order of the table.
    pub(crate) fn times(&self) -> Vec<Shown> {
        self.hooks.iter().map(|hook| hook.times.shown()).collect()
    }

    /// Calls a hook and, if it is async, takes its first step: all in the exchange's own context.
    fn run(&self, py: Python<'_>, hook: &Rc<Hook>, exchange: &Rc<Exchange>, began: u64) -> PyResult<Step> {
        let (request, context) = Attachment::views(py, exchange)?;
        let entered = Entered::new(&context)?;
        let result = call_function(py, hook, exchange, request)?;
        if result.is_none() {
            return Ok(Step::Ready(Verdict::Continue));
        }
        let Some(coroutine) = to_coroutine(&self.seam, &result)? else {
            return self
                .converter(hook, exchange, &context)
                .verdict(&result)
                .map(Step::Ready);
        };
        let first = first_step(&self.seam, &coroutine, &context, || {
            let (hook, exchange) = (Rc::clone(hook), Rc::clone(exchange));
            Box::new(move |py| (Origin::new(py, &hook, &exchange), Attachment::hold(&exchange)))
        })?;
        drop(entered);
        match first {
            First::Done(result) => self
                .converter(hook, exchange, &context)
                .verdict(&result)
                .map(Step::Ready),
            First::Waits(waiting) => {
                let converter = self.converter(hook, exchange, &context);
                Ok(Step::Waiting(wait(waiting, converter, began)))
            }
        }
    }

    /// As [`PyHooks::run`], for a piece of a body.
    fn run_body(
        &self,
        py: Python<'_>,
        hook: &Rc<Hook>,
        exchange: &Rc<Exchange>,
        piece: &Piece<'_>,
        began: u64,
    ) -> PyResult<BodyStep> {
        let (request, context) = Attachment::views(py, exchange)?;
        let entered = Entered::new(&context)?;
        let function = hook.function.bind(py);
        let chunk = PyPiece::bytes_of(py, piece.chunk);
        let result = if hook.phase == Phase::ResponseBody {
            let response = Attachment::response(py, exchange)?;
            function.call1((request, response, &chunk, piece.is_last))?
        } else {
            function.call1((request, &chunk, piece.is_last))?
        };
        if result.is_none() || result.is(&chunk) {
            return Ok(BodyStep::Ready(BodyVerdict::Keep));
        }
        // the common ones first: asking whether something can be awaited costs an exception where it cannot
        if result.is_exact_instance_of::<PyBytes>() {
            let converter = self.converter(hook, exchange, &context);
            return converter.body_verdict(&result).map(BodyStep::Ready);
        }
        let Some(coroutine) = to_coroutine(&self.seam, &result)? else {
            let converter = self.converter(hook, exchange, &context);
            return converter.body_verdict(&result).map(BodyStep::Ready);
        };
        let first = first_step(&self.seam, &coroutine, &context, || {
            let (hook, exchange) = (Rc::clone(hook), Rc::clone(exchange));
            Box::new(move |py| (Origin::new(py, &hook, &exchange), Attachment::hold(&exchange)))
        })?;
        drop(entered);
        let converter = self.converter(hook, exchange, &context);
        match first {
            First::Done(result) => converter.body_verdict(&result).map(BodyStep::Ready),
            First::Waits(waiting) => Ok(BodyStep::Waiting(wait_body(waiting, converter, began))),
        }
    }

    fn converter(
        &self,
        hook: &Rc<Hook>,
        exchange: &Rc<Exchange>,
        context: &Bound<'_, PyContext>,
    ) -> Converter {
        Converter::new(&self.seam, hook, exchange, context)
    }
}

fn call_function<'py>(
    py: Python<'py>,
    hook: &Hook,
    exchange: &Rc<Exchange>,
    request: Bound<'py, Request>,
) -> PyResult<Bound<'py, PyAny>> {
    let function = hook.function.bind(py);
    match hook.phase {
        // hooks of connections never come here: see `connection_hooks`
        Phase::Connect
        | Phase::ClientHello
        | Phase::ClientData
        | Phase::ServerData
        | Phase::Rewrite
        | Phase::Request
        | Phase::Match => function.call1((request,)),
        Phase::Balance => function.call1((request, UpstreamView::new(py, exchange)?)),
        // these have their own way: `run_body`, `message_hooks`
        Phase::RequestBody | Phase::ResponseBody | Phase::WebSocketMessage => function.call0(),
        Phase::UpstreamRequest => function.call1((request, Attempt::new(exchange))),
        Phase::Response | Phase::Log => function.call1((request, Attachment::response(py, exchange)?)),
        Phase::Error => function.call1((request, Failure::new(exchange))),
    }
}

/// Waits for a hook's task, up to its deadline.
fn wait(waiting: Waiting, converter: Converter, began: u64) -> LocalFuture<'static, Verdict> {
    Box::pin(async move {
        let verdict = outcome(waiting, &converter, began, Converter::verdict).await;
        verdict.unwrap_or_else(|| failed(&converter.hook))
    })
}

fn wait_body(waiting: Waiting, converter: Converter, began: u64) -> LocalFuture<'static, BodyVerdict> {
    Box::pin(async move {
        let verdict = outcome(waiting, &converter, began, Converter::body_verdict).await;
        verdict.unwrap_or_else(|| body_failed(&converter.hook))
    })
}

/// What a hook's task gave, as `convert` reads it; `None` if it failed.
pub(crate) async fn outcome<T>(
    waiting: Waiting,
    converter: &Converter,
    began: u64,
    convert: impl FnOnce(&Converter, &Bound<'_, PyAny>) -> PyResult<T>,
) -> Option<T> {
    let deadline = Duration::from_millis(converter.hook.deadline_ms);
    let outcome = waiting.outcome(deadline).await;
    let (hook, exchange) = (&converter.hook, &converter.exchange);
    ended(hook, exchange, exchange.tick_us() - began);
    Python::attach(|py| match outcome {
        Outcome::Ended(ended) => guarded(py, hook, exchange, || convert(converter, ended?.bind(py))),
        Outcome::Late => {
            Origin::new(py, hook, exchange).was_late(py, hook.deadline_ms);
            hook.times.failed();
            if hook.on_error == OnError::Closed {
                exchange.limit.set("hook_deadline");
            }
            None
        }
    })
}

/// What `work` gives; if it raises or panics, that is logged. A panic costs one request and never reaches the loop.
fn guarded<T>(
    py: Python<'_>,
    hook: &Hook,
    exchange: &Exchange,
    work: impl FnOnce() -> PyResult<T>,
) -> Option<T> {
    let _in_python = exchange
        .id
        .try_borrow()
        .map(|id| InPython::new(&hook.beat, &id))
        .ok();
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Some(value),
        Ok(Err(error)) => {
            hook.times.failed();
            Origin::new(py, hook, exchange).raised(py, &error);
            None
        }
        Err(_) => {
            hook.times.failed();
            Origin::new(py, hook, exchange).panicked(py);
            None
        }
    }
}

/// Notes how long a call took, and for this one request if somebody wants to know.
fn ended(hook: &Hook, exchange: &Exchange, us: u64) {
    hook.times.ended(us);
    if exchange.tables.borrow().wants_hook_times() {
        let mut hooks = exchange.timings.hooks.borrow_mut();
        // a body hook is called once for each piece, one of messages for each: one entry for all
        let same = |time: &&mut HookTime| Rc::ptr_eq(&time.name, &hook.name);
        if let Some(time) = hooks.iter_mut().rev().find(same).filter(|_| hook.phase.repeats()) {
            time.us += us;
            return;
        }
        hooks.push(HookTime {
            phase: hook.phase.name(),
            name: Rc::clone(&hook.name),
            us,
        });
    }
}

fn failed(hook: &Hook) -> Verdict {
    match hook.on_error {
        OnError::Closed => Verdict::Failed,
        OnError::Open => Verdict::Continue,
    }
}

fn body_failed(hook: &Hook) -> BodyVerdict {
    match hook.on_error {
        OnError::Closed => BodyVerdict::Failed,
        OnError::Open => BodyVerdict::Keep,
    }
}
