//! What the engine does for Python code that awaits it: a future of tokio's that is one of asyncio's too.
//!
//! # How it works
//! Who awaits a [`Pending`] decides who drives it. A hook that the engine still steps itself (see [`crate::event_loop::waiting`]) takes
//! the tokio future out and polls it in the request's own task: no trip through asyncio. Everybody else (a task, `gather`)
//! asks for a callback, as of any asyncio future; then a tokio task of its own drives it. It begins when it is awaited. It
//! has the methods of a coroutine as well, so that `asyncio.create_task` takes it.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use headgate_engine::LocalFuture;
use pyo3::exceptions::asyncio::{CancelledError, InvalidStateError};
use pyo3::exceptions::PyStopIteration;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyType};

use crate::event_loop::seam::Seam;
use crate::interpreter::gil::ThreadBound;

/// The work behind a [`Pending`].
pub(crate) type Work = LocalFuture<'static, PyResult<Py<PyAny>>>;

/// An awaitable result of the engine's.
#[pyclass(frozen, weakref, module = "headgate._core")]
pub(crate) struct Pending {
    inner: ThreadBound<Inner>,
}

struct Inner {
    seam: Rc<Seam>,
    state: RefCell<State>,
    /// asyncio's mark of a future that was just yielded.
    is_blocking: Cell<bool>,
    /// Of the task that drives it.
    waker: RefCell<Option<Waker>>,
    callbacks: RefCell<Vec<Callback>>,
}

enum State {
    /// Nobody has awaited it yet.
    Idle(Work),
    Driven,
    Done(PyResult<Py<PyAny>>),
    Cancelled,
}

struct Callback {
    function: Py<PyAny>,
    context: Option<Py<PyAny>>,
}

impl Pending {
    pub(crate) fn new(seam: &Rc<Seam>, work: Work) -> Self {
        Self::with(seam, State::Idle(work))
    }

    /// One whose result is there.
    pub(crate) fn done(seam: &Rc<Seam>, result: PyResult<Py<PyAny>>) -> Self {
        Self::with(seam, State::Done(result))
    }

    fn with(seam: &Rc<Seam>, state: State) -> Self {
        Self {
            inner: ThreadBound::new(Inner {
                seam: Rc::clone(seam),
                state: RefCell::new(state),
                is_blocking: Cell::new(false),
                waker: RefCell::default(),
                callbacks: RefCell::default(),
            }),
        }
    }

    /// Takes the work over from a coroutine that has just yielded this; `None` if somebody drives it already.
    pub(crate) fn drive(this: &Bound<'_, Self>) -> Option<Driver> {
        let inner = this.get().inner.get().ok()?;
        let mut state = inner.state.borrow_mut();
        match std::mem::replace(&mut *state, State::Driven) {
            State::Idle(work) => {
                inner.is_blocking.set(false);
                Some(Driver {
                    pending: this.clone().unbind(),
                    work: Some(work),
                })
            }
            other => {
                *state = other;
                None
            }
        }
    }

    fn is_done(&self) -> PyResult<bool> {
        Ok(matches!(
            *self.inner.get()?.state.borrow(),
            State::Done(_) | State::Cancelled
        ))
    }

    fn outcome(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match &*self.inner.get()?.state.borrow() {
            State::Done(Ok(value)) => Ok(value.clone_ref(py)),
            State::Done(Err(error)) => Err(error.clone_ref(py)),
            State::Cancelled => Err(CancelledError::new_err(())),
            State::Idle(_) | State::Driven => {
                Err(InvalidStateError::new_err("the result is not available yet"))
            }
        }
    }

    /// Sets the end and has asyncio call who wanted to know.
    fn conclude(this: &Bound<'_, Self>, end: State) -> PyResult<()> {
        let inner = this.get().inner.get()?;
        let old = inner.state.replace(end);
        let callbacks = inner.callbacks.take();
        for callback in callbacks {
            call_soon(this, inner, callback)?;
        }
        inner.seam.notice_work(this.py());
        // last: dropping work closes connections and may run Python
        drop(old);
        Ok(())
    }
}

fn call_soon(this: &Bound<'_, Pending>, inner: &Inner, callback: Callback) -> PyResult<()> {
    let py = this.py();
    let options = PyDict::new(py);
    if let Some(context) = callback.context {
        options.set_item(intern!(py, "context"), context)?;
    }
    let asyncio_loop = inner.seam.asyncio_loop.bind(py);
    asyncio_loop.call_method(
        intern!(py, "call_soon"),
        (callback.function, this),
        Some(&options),
    )?;
    Ok(())
}

#[pymethods]
impl Pending {
    #[getter(_asyncio_future_blocking)]
    fn blocking(&self) -> PyResult<bool> {
        Ok(self.inner.get()?.is_blocking.get())
    }

    #[setter(_asyncio_future_blocking)]
    fn set_blocking(&self, is_blocking: bool) -> PyResult<()> {
        self.inner.get()?.is_blocking.set(is_blocking);
        Ok(())
    }

    #[classmethod]
    fn __class_getitem__(class: &Bound<'_, PyType>, item: &Bound<'_, PyAny>) -> Py<PyType> {
        let _ = item;
        class.clone().unbind()
    }

    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        let pending = slf.get();
        if pending.is_done()? {
            return Err(PyStopIteration::new_err((pending.outcome(slf.py())?,)));
        }
        pending.inner.get()?.is_blocking.set(true);
        Ok(slf.clone())
    }

    /// As of a coroutine.
    #[pyo3(signature = (value, /))]
    fn send<'py>(slf: &Bound<'py, Self>, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Self>> {
        let _ = value;
        Self::__next__(slf)
    }

    /// As of a coroutine: cancels the work and raises what is thrown.
    #[pyo3(signature = (kind, value = None, traceback = None, /))]
    fn throw(
        slf: &Bound<'_, Self>,
        kind: &Bound<'_, PyAny>,
        value: Option<&Bound<'_, PyAny>>,
        traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let _ = traceback;
        Self::close(slf)?;
        let exception = match (kind.is_instance_of::<PyType>(), value) {
            (true, None) => kind.call0()?,
            (true, Some(value)) if value.is_instance(kind)? => value.clone(),
            (true, Some(value)) => kind.call1((value,))?,
            (false, _) => kind.clone(),
        };
        Err(PyErr::from_value(exception))
    }

    /// As of a coroutine: cancels the work if it is not done.
    fn close(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::cancel(slf, None).map(|_| ())
    }

    /// Ends the work: a connection that was under way is closed. False if it was done already.
    #[pyo3(signature = (msg = None))]
    pub(crate) fn cancel(slf: &Bound<'_, Self>, msg: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
        let _ = msg;
        if slf.get().is_done()? {
            return Ok(false);
        }
        Self::conclude(slf, State::Cancelled)?;
        if let Some(waker) = slf.get().inner.get()?.waker.take() {
            waker.wake();
        }
        Ok(true)
    }

    /// Whether it was cancelled.
    fn cancelled(&self) -> PyResult<bool> {
        Ok(matches!(*self.inner.get()?.state.borrow(), State::Cancelled))
    }

    /// Whether the result is there.
    #[pyo3(name = "done")]
    fn is_over(&self) -> PyResult<bool> {
        self.is_done()
    }

    /// The result; raises what the work raised, or `InvalidStateError` before it is there.
    fn result(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.outcome(py)
    }

    /// What the work raised, `None` if it gave a result.
    fn exception(&self, py: Python<'_>) -> PyResult<Option<PyErr>> {
        match &*self.inner.get()?.state.borrow() {
            State::Done(Ok(_)) => Ok(None),
            State::Done(Err(error)) => Ok(Some(error.clone_ref(py))),
            State::Cancelled => Err(CancelledError::new_err(())),
            State::Idle(_) | State::Driven => {
                Err(InvalidStateError::new_err("the result is not available yet"))
            }
        }
    }

    #[pyo3(name = "_make_cancelled_error")]
    #[allow(clippy::unused_self)] // why: asyncio asks it of the future
    fn make_cancelled_error(&self) -> PyErr {
        CancelledError::new_err(())
    }

    /// The loop it belongs to.
    fn get_loop(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(self.inner.get()?.seam.asyncio_loop.clone_ref(py))
    }

    /// Has asyncio call `function` with this when it is done; begins the work.
    #[pyo3(signature = (function, /, *, context = None))]
    fn add_done_callback(
        slf: &Bound<'_, Self>,
        function: Py<PyAny>,
        context: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let inner = slf.get().inner.get()?;
        let callback = Callback { function, context };
        if slf.get().is_done()? {
            call_soon(slf, inner, callback)?;
            inner.seam.notice_work(slf.py());
            return Ok(());
        }
        inner.callbacks.borrow_mut().push(callback);
        if let Some(driver) = Self::drive(slf) {
            inner.seam.spawn(async move {
                let _ = driver.await;
            })?;
        }
        Ok(())
    }

    /// Forgets a callback; gives how often it was there.
    #[pyo3(signature = (function, /))]
    fn remove_done_callback(&self, py: Python<'_>, function: &Bound<'_, PyAny>) -> PyResult<usize> {
        let callbacks = self.inner.get()?.callbacks.take();
        let before = callbacks.len();
        let mut kept = Vec::with_capacity(before);
        for callback in callbacks {
            if !callback.function.bind(py).eq(function)? {
                kept.push(callback);
            }
        }
        let removed = before - kept.len();
        self.inner.get()?.callbacks.borrow_mut().append(&mut kept);
        Ok(removed)
    }
}

/// Drives the work of a [`Pending`] until it is done or cancelled. Dropped before, it gives the work back.
pub(crate) struct Driver {
    pending: Py<Pending>,
    work: Option<Work>,
}

impl Driver {
    pub(crate) fn pending(&self) -> &Py<Pending> {
        &self.pending
    }
}

impl Future for Driver {
    type Output = PyResult<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<PyResult<()>> {
        let this = &mut *self;
        let inner = this.pending.get().inner.get()?;
        if !matches!(*inner.state.borrow(), State::Driven) {
            this.work = None;
            return Poll::Ready(Ok(()));
        }
        let Some(work) = &mut this.work else {
            return Poll::Ready(Ok(()));
        };
        match work.as_mut().poll(context) {
            Poll::Ready(result) => {
                this.work = None;
                Poll::Ready(Python::attach(|py| {
                    Pending::conclude(this.pending.bind(py), State::Done(result))
                }))
            }
            Poll::Pending => {
                let mut waker = inner.waker.borrow_mut();
                match &*waker {
                    Some(known) if known.will_wake(context.waker()) => {}
                    _ => *waker = Some(context.waker().clone()),
                }
                Poll::Pending
            }
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let Some(work) = self.work.take() else { return };
        if let Ok(inner) = self.pending.get().inner.get() {
            let mut state = inner.state.borrow_mut();
            if matches!(*state, State::Driven) {
                *state = State::Idle(work);
            }
        }
    }
}
