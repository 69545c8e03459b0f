//! The engine's trait [`Hooks`] over a table of Python functions.

use std::io;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::task::Poll;

use headgate_engine::websocket::{Message, Party};
use headgate_engine::{
    BodyStep, Chunk, ChunkStep, ConnectionState, Exchange, Flag, HookTime, Hooks, MatcherFailed, MessageStep,
    Native, Phase, Ran, Read, Step, Verdict,
};
use headgate_shared::series::Registry;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyContext, PySequence};

use crate::calls::calling::{Call, Subject};
use crate::calls::hook_times::Shown;
use crate::calls::spec::{Hook, OnError};
use crate::event_loop::heartbeat::InPython;
use crate::event_loop::link::Hold;
use crate::event_loop::report::Origin;
use crate::event_loop::seam::Seam;
use crate::interpreter::gil::{self, Entered};
use crate::interpreter::piece::PyPiece;
use crate::views::attachment::{self, Attachment};
use crate::views::attempt::{Attempt, FailedAttempt};
use crate::views::failure::Failure;
use crate::views::request::Request;
use crate::views::upstream::UpstreamView;
use crate::views::websocket::WebSocketMessage;

/// The hooks of one snapshot: a version of the table, which lives as long as something runs under it.
pub(crate) struct PyHooks {
    seam: Rc<Seam>,
    hooks: Vec<Rc<Hook>>,
    /// Called when nothing can call these hooks any more.
    released: Option<Py<PyAny>>,
}

impl Drop for PyHooks {
    /// The table was replaced, and the last request that began under it is done.
    fn drop(&mut self) {
        let Some(released) = self.released.take() else {
            return;
        };
        gil::held(|py| {
            // by asyncio, in a turn of its own: whatever ends now ends in the midst of the engine's work. A loop that is
            // closed has run everything itself.
            if self.seam.call_soon(py, &released).is_ok() {
                self.seam.notice_work(py);
            }
        });
    }
}

impl Hooks for PyHooks {
    fn call(&self, hook: usize, exchange: &Rc<Exchange>) -> Step {
        let call = self.calls(hook, exchange);
        let missed = match run_natively(&call) {
            Ran::Done => return Step::Ready(Verdict::Continue),
            Ran::Ask(missed) => missed,
        };
        let (phase, failures) = (call.hook.phase, call.hook.times.failures());
        let step = gil::held(|py| {
            call.begin(py, |function, request| {
                call_function(py, phase, exchange, function, request)
            })
        });
        if let (Some(missed), Step::Ready(Verdict::Continue)) = (missed, &step) {
            // one that failed, and is declared to fail open, has not decided
            if call.hook.times.failures() == failures {
                missed.remember();
            }
        }
        step
    }

    fn connection(&self, hook: usize, connection: &Rc<ConnectionState>) -> Step {
        let call = self.calls(hook, connection);
        gil::held(|py| call.begin(py, |function, view| function.call1((view,))))
    }

    fn chunk(&self, hook: usize, connection: &Rc<ConnectionState>, chunk: &[u8]) -> ChunkStep {
        let call = self.calls(hook, connection);
        gil::held(|py| {
            call.begin(py, |function, view| {
                function.call1((view, PyBytes::new(py, chunk)))
            })
        })
    }

    fn wants_body(&self, hook: usize, exchange: &Rc<Exchange>) -> bool {
        let call = self.calls(hook, exchange);
        match natively(&call) {
            Some(native) => matches!(
                native.run(exchange, &|name| Attachment::said(exchange, name)),
                Ran::Ask(_)
            ),
            None => true,
        }
    }

    fn call_body(&self, hook: usize, exchange: &Rc<Exchange>, chunk: &Chunk, is_last: bool) -> BodyStep {
        let call = self.calls(hook, exchange);
        let phase = call.hook.phase;
        gil::held(|py| {
            call.begin(py, |function, request| {
                let chunk = PyPiece::bytes_of(py, chunk);
                let result = if phase == Phase::ResponseBody {
                    let response = Attachment::response(py, exchange)?;
                    function.call1((request, response, &chunk, is_last))?
                } else {
                    function.call1((request, &chunk, is_last))?
                };
                // the chunk itself is the same as nothing
                Ok(if result.is(&chunk) {
                    py.None().into_bound(py)
                } else {
                    result
                })
            })
        })
    }

    fn message(&self, hook: usize, exchange: &Rc<Exchange>, message: &Message, from: Party) -> MessageStep {
        let call = self.calls(hook, exchange);
        gil::held(|py| {
            call.begin(py, |function, request| {
                let shown = Bound::new(py, WebSocketMessage::new(py, message, from))?;
                function.call1((request, shown))
            })
        })
    }

    fn piece(&self, bytes: &[u8]) -> Chunk {
        gil::held(|py| PyPiece::copied(py, bytes))
    }

    fn read_piece(&self, most: usize, read: Read<'_>) -> Poll<io::Result<Chunk>> {
        gil::held(|py| PyPiece::read(py, most, read))
    }

    fn read_pipe(&self, most: usize, pipe: BorrowedFd<'_>) -> io::Result<Chunk> {
        gil::held(|py| PyPiece::from_pipe(py, most, pipe))
    }

    fn matches(&self, function: usize, exchange: &Rc<Exchange>) -> Result<bool, MatcherFailed> {
        let call = self.calls(function, exchange);
        gil::held(|py| {
            let matches = call.guarded(py, || {
                let (request, context) = Attachment::views(py, exchange)?;
                let _entered = Entered::new(&context)?;
                call.hook.function.bind(py).call1((request,))?.is_truthy()
            });
            self.seam.notice_work(py);
            exchange.tick_us();
            match (matches, call.hook.on_error) {
                (Some(matches), _) => Ok(matches),
                (None, OnError::Open) => Ok(false),
                (None, OnError::Closed) => Err(MatcherFailed),
            }
        })
    }

    fn yield_gil(&self) {
        gil::held(|py| self.seam.gil.yield_now(py));
    }
}

impl PyHooks {
    /// Reads the table; without asyncio only an empty one is taken.
    pub(crate) fn new(
        seam: Rc<Seam>,
        specs: &Bound<'_, PySequence>,
        released: Option<Py<PyAny>>,
        registry: Option<&Registry>,
    ) -> PyResult<Self> {
        if !specs.is_empty()? && !seam.has_asyncio(specs.py()) {
            return Err(PyValueError::new_err(
                "hooks need an asyncio loop; hint: make the core for one",
            ));
        }
        let hooks = specs
            .try_iter()?
            .map(|spec| Hook::read(&spec?, &seam.beat, registry).map(Rc::new))
            .collect::<PyResult<_>>()?;
        Ok(Self {
            seam,
            hooks,
            released,
        })
    }

    /// What each hook has taken, in the order of the table.
    pub(crate) fn times(&self) -> Vec<Shown> {
        self.hooks.iter().map(|hook| hook.times.shown()).collect()
    }

    fn calls<'a, S>(&'a self, hook: usize, subject: &'a S) -> Call<'a, S> {
        Call {
            seam: &self.seam,
            hook: &self.hooks[hook],
            subject,
        }
    }
}

/// What is done in a hook's place; nothing while somebody inspects hooks, who wants to see them run.
fn natively<'a>(call: &Call<'a, Rc<Exchange>>) -> Option<&'a Native> {
    let native = call.hook.native.as_ref();
    native.filter(|_| !attachment::names_requests())
}

/// Does what the hook does, if its actions can.
fn run_natively(call: &Call<'_, Rc<Exchange>>) -> Ran {
    let Some(native) = natively(call) else {
        return Ran::Ask(None);
    };
    let began = call.subject.begins();
    let ran = native.run(call.subject, &|name| Attachment::said(call.subject, name));
    if matches!(ran, Ran::Done) {
        call.ran_natively(began);
    }
    ran
}

fn call_function<'py>(
    py: Python<'py>,
    phase: Phase,
    exchange: &Rc<Exchange>,
    function: &Bound<'py, PyAny>,
    request: Bound<'py, Request>,
) -> PyResult<Bound<'py, PyAny>> {
    match phase {
        // hooks of connections never come here: see `connection`
        Phase::Connect
        | Phase::ClientHello
        | Phase::ClientData
        | Phase::ServerData
        | Phase::Rewrite
        | Phase::Request
        | Phase::Match => function.call1((request,)),
        Phase::Balance => function.call1((request, UpstreamView::new(py, exchange)?)),
        // these have their own way: `call_body`, `message`
        Phase::RequestBody | Phase::ResponseBody | Phase::WebSocketMessage => function.call0(),
        Phase::UpstreamRequest => function.call1((request, Attempt::new(exchange))),
        Phase::Retry => function.call1((request, FailedAttempt::new(exchange))),
        Phase::Response | Phase::Log => function.call1((request, Attachment::response(py, exchange)?)),
        Phase::Error => function.call1((request, Failure::new(exchange))),
    }
}

impl Subject for Rc<Exchange> {
    type View = Request;
    /// Microseconds on the worker's clock.
    type Moment = u64;

    fn views<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, Request>, Bound<'py, PyContext>)> {
        Attachment::views(py, self)
    }

    fn hold(&self) -> Hold {
        Attachment::hold(self)
    }

    fn origin(&self, py: Python<'_>, hook: &Hook) -> Origin {
        Origin::new(py, &hook.name, hook.phase.name(), self)
    }

    fn in_python<'a>(&self, hook: &'a Hook) -> Option<InPython<'a>> {
        let id = self.id.try_borrow();
        id.map(|id| InPython::new(&hook.beat, &id)).ok()
    }

    fn begins(&self) -> u64 {
        self.now_us()
    }

    fn us_since(&self, began: u64) -> u64 {
        self.tick_us() - began
    }

    /// For this one request if somebody wants to know.
    fn note_time(&self, hook: &Hook, us: u64) {
        if !self.tables.borrow().wants_hook_times() && !self.timings.is_followed.get() {
            return;
        }
        let mut hooks = self.timings.hooks.borrow_mut();
        // a body hook is called once for each piece, one of messages for each: one entry for all
        let same = |time: &&mut HookTime| Rc::ptr_eq(&time.name, &hook.name);
        if let Some(time) = hooks
            .iter_mut()
            .rev()
            .find(same)
            .filter(|_| hook.phase.has(Flag::Repeats))
        {
            time.us += us;
            time.ended_us = self.now_us();
            return;
        }
        hooks.push(HookTime {
            phase: hook.phase.name(),
            name: Rc::clone(&hook.name),
            us,
            began_us: self.now_us().saturating_sub(us),
            ended_us: self.now_us(),
        });
    }

    fn note_late(&self, hook: &Hook) {
        if hook.on_error == OnError::Closed {
            self.limit.set("hook_deadline");
        }
    }
}
