//! One call of a hook, whatever it is for: inline up to where it waits, in a context of its own, and then waited for.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::rc::Rc;
use std::time::Duration;

use headgate_engine::{LocalFuture, Step};
use pyo3::prelude::*;
use pyo3::types::PyContext;

use crate::calls::spec::{Hook, OnError};
use crate::event_loop::first_step::{first_step, to_coroutine, First};
use crate::event_loop::heartbeat::InPython;
use crate::event_loop::link::Hold;
use crate::event_loop::report::Origin;
use crate::event_loop::seam::Seam;
use crate::event_loop::waiting::{TaskOutcome, WaitingTask};
use crate::interpreter::gil::{self, Entered};

/// What hooks are called for: an exchange or a connection.
pub(crate) trait Subject: Clone + 'static {
    /// How hooks see it.
    type View;
    /// A moment on the clock that its hooks are timed by.
    type Moment: Copy + 'static;

    /// Its view and its context, made for its first hook.
    fn views<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, Self::View>, Bound<'py, PyContext>)>;

    /// Keeps what hooks see of it usable while a task runs.
    fn hold(&self) -> Hold;

    /// How the log names one of its hooks.
    fn origin(&self, py: Python<'_>, hook: &Hook) -> Origin;

    /// Tells the watching thread that a hook of it runs.
    fn in_python<'a>(&self, hook: &'a Hook) -> Option<InPython<'a>>;

    /// The moment a call begins.
    fn begins(&self) -> Self::Moment;

    /// Microseconds since then.
    fn us_since(&self, began: Self::Moment) -> u64;

    /// A hook of it has ended, after so many microseconds.
    fn note_time(&self, hook: &Hook, us: u64);

    /// A hook of it was cut off at its deadline.
    fn note_late(&self, hook: &Hook);
}

/// What a hook's result says, for one sort of hook.
pub(crate) trait Meaning<S>: Sized + 'static {
    /// When it returned nothing.
    const NOTHING: Self;
    /// When it raised, returned nonsense or was late, and is declared to fail closed.
    const FAILED: Self;

    /// When it returned something.
    fn of(call: &Call<'_, S>, result: &Bound<'_, PyAny>) -> PyResult<Self>;
}

/// A hook and what it is called for.
pub(crate) struct Call<'a, S> {
    pub(crate) seam: &'a Rc<Seam>,
    pub(crate) hook: &'a Rc<Hook>,
    pub(crate) subject: &'a S,
}

impl<S: Subject> Call<'_, S> {
    /// Calls the hook, with the arguments that `invoke` adds to the view, and takes the first step if it is async.
    pub(crate) fn begin<'py, T: Meaning<S>>(
        &self,
        py: Python<'py>,
        invoke: impl FnOnce(&Bound<'py, PyAny>, Bound<'py, S::View>) -> PyResult<Bound<'py, PyAny>>,
    ) -> Step<T> {
        let began = self.subject.begins();
        let step = self.guarded(py, || self.run(py, invoke, began));
        self.seam.notice_work(py);
        let step = step.unwrap_or_else(|| Step::Ready(failed(self.hook)));
        let us = self.subject.us_since(began);
        self.hook.times.ran(us);
        if matches!(step, Step::Ready(_)) {
            self.ended(us);
        }
        step
    }

    fn run<'py, T: Meaning<S>>(
        &self,
        py: Python<'py>,
        invoke: impl FnOnce(&Bound<'py, PyAny>, Bound<'py, S::View>) -> PyResult<Bound<'py, PyAny>>,
        began: S::Moment,
    ) -> PyResult<Step<T>> {
        let (view, context) = self.subject.views(py)?;
        let entered = Entered::new(&context)?;
        let result = invoke(self.hook.function.bind(py), view)?;
        if result.is_none() {
            return Ok(Step::Ready(T::NOTHING));
        }
        let Some(coroutine) = to_coroutine(self.seam, &result)? else {
            return T::of(self, &result).map(Step::Ready);
        };
        let first = first_step(self.seam, &coroutine, &context, || {
            let (hook, subject) = (Rc::clone(self.hook), self.subject.clone());
            Box::new(move |py| (subject.origin(py, &hook), subject.hold()))
        })?;
        drop(entered);
        match first {
            First::Done(result) => self.meaning(&result).map(Step::Ready),
            First::Waits(waiting) => Ok(Step::Pending(self.wait(waiting, began))),
        }
    }

    /// Waits for the hook's task, up to its deadline.
    fn wait<T: Meaning<S>>(&self, waiting: WaitingTask, began: S::Moment) -> LocalFuture<'static, T> {
        let (seam, hook) = (Rc::clone(self.seam), Rc::clone(self.hook));
        let subject = self.subject.clone();
        Box::pin(async move {
            let outcome = waiting.outcome(Duration::from_millis(hook.deadline_ms)).await;
            let call = Call {
                seam: &seam,
                hook: &hook,
                subject: &subject,
            };
            call.ended(subject.us_since(began));
            let meaning = gil::held(|py| match outcome {
                TaskOutcome::Ended(ended) => call.guarded(py, || call.meaning(ended?.bind(py))),
                TaskOutcome::Late => {
                    subject.origin(py, &hook).was_late(py, hook.deadline_ms);
                    call.count_failure();
                    subject.note_late(&hook);
                    None
                }
            });
            meaning.unwrap_or_else(|| failed(&hook))
        })
    }

    fn meaning<T: Meaning<S>>(&self, result: &Bound<'_, PyAny>) -> PyResult<T> {
        if result.is_none() {
            return Ok(T::NOTHING);
        }
        T::of(self, result)
    }

    /// What `work` gives; if it raises or panics, that is logged. A panic costs one request and never reaches the loop.
    pub(crate) fn guarded<T>(&self, py: Python<'_>, work: impl FnOnce() -> PyResult<T>) -> Option<T> {
        let _in_python = self.subject.in_python(self.hook);
        match catch_unwind(AssertUnwindSafe(work)) {
            Ok(Ok(value)) => Some(value),
            Ok(Err(error)) => {
                self.count_failure();
                self.subject.origin(py, self.hook).raised(py, &error);
                None
            }
            Err(_) => {
                self.count_failure();
                self.subject.origin(py, self.hook).panicked(py);
                None
            }
        }
    }

    /// The one place where hooks that failed are counted: of every phase, whatever their failure does to the request.
    fn count_failure(&self) {
        self.hook.times.failed();
        if let Ok(worker) = self.seam.worker() {
            worker.count_hook_failure();
        }
    }

    /// What the hook does was done without it.
    pub(crate) fn ran_natively(&self, began: S::Moment) {
        let us = self.subject.us_since(began);
        self.hook.times.ran(us);
        self.ended(us);
    }

    fn ended(&self, us: u64) {
        self.hook.times.ended(us);
        self.subject.note_time(self.hook, us);
    }
}

fn failed<S, T: Meaning<S>>(hook: &Hook) -> T {
    match hook.on_error {
        OnError::Closed => T::FAILED,
        OnError::Open => T::NOTHING,
    }
}
