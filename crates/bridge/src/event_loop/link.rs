//! What ties an exchange's views to it, and how long they may be used.
//!
//! # How it works
//! Views hold the exchange weakly, since it holds them. They end with the request; but a hook that was cancelled, because
//! its client disconnected or its deadline passed, cleans up a moment later and may still ask for `request.id`. So the task of a
//! hook holds the exchange, and with it the views, until it is done: see [`Hold`].

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use headgate_engine::{Exchange, Told};
use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString, PyType};

use crate::interpreter::gil::ThreadBound;
use crate::interpreter::text;

/// What `request.state` is.
static NAMESPACE: PyOnceLock<Py<PyType>> = PyOnceLock::new();

/// Shared by all views of an exchange.
pub(crate) struct Link {
    exchange: RefCell<Weak<Exchange>>,
    held: RefCell<Option<Rc<Exchange>>>,
    holds: Cell<usize>,
    /// `request.state` and `request.params`: users may put into them what leads back to the request.
    state: RefCell<Option<Py<PyAny>>>,
    params: RefCell<Option<Py<PyDict>>>,
}

impl Link {
    pub(crate) fn new(exchange: &Rc<Exchange>) -> Rc<Self> {
        Rc::new(Self {
            exchange: RefCell::new(Rc::downgrade(exchange)),
            held: RefCell::default(),
            holds: Cell::new(0),
            state: RefCell::default(),
            params: RefCell::default(),
        })
    }

    /// Lets go of the memory of a finished exchange.
    pub(crate) fn untie(&self) {
        self.exchange.replace(Weak::new());
    }

    /// Ties the views of a finished exchange, which no hook has kept, to another one.
    pub(crate) fn renew(&self, exchange: &Rc<Exchange>) {
        self.exchange.replace(Rc::downgrade(exchange));
    }

    /// The exchange, if it may still be used.
    pub(crate) fn exchange(&self) -> PyResult<Rc<Exchange>> {
        self.exchange
            .borrow()
            .upgrade()
            .filter(|exchange| self.holds.get() > 0 || !exchange.is_finished.get())
            .ok_or_else(|| {
                PyRuntimeError::new_err(
                    "this request is finished: its view holds nothing any more; \
                     hint: keep what you need of it before",
                )
            })
    }

    /// `request.params`: the path's parameters by name, percent-decoded; empty before a route is chosen.
    pub(crate) fn params<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let exchange = self.exchange()?;
        if let Some(params) = &*self.params.borrow() {
            return Ok(params.bind(py).clone());
        }
        let params = PyDict::new(py);
        for (name, value) in exchange.params.borrow().iter() {
            params.set_item(name, text::decode(py, value)?)?;
        }
        if exchange.route.get().is_some() {
            self.params.replace(Some(params.clone().unbind()));
        }
        Ok(params)
    }

    /// `request.state`: whatever its hooks want to tell each other, native actions included.
    pub(crate) fn state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let exchange = self.exchange()?;
        let known = self.state.borrow().as_ref().map(|state| state.bind(py).clone());
        let state = if let Some(state) = known {
            state
        } else {
            let state = NAMESPACE.import(py, "types", "SimpleNamespace")?.call0()?;
            self.state.replace(Some(state.clone().unbind()));
            state
        };
        for note in exchange.notes.untold() {
            let is_set = note.is_default
                && state
                    .getattr_opt(&*note.name)?
                    .is_some_and(|value| !value.is_none());
            if !is_set {
                state.setattr(&*note.name, &*note.value)?;
            }
        }
        Ok(state)
    }

    /// What hooks have set an attribute of `request.state` to.
    pub(crate) fn said(&self, py: Python<'_>, name: &str) -> Told {
        let state = self.state.borrow();
        let value = state.as_ref().map(|state| state.bind(py).getattr_opt(name));
        match value {
            None | Some(Ok(None)) => Told::Unset,
            Some(Ok(Some(value))) => {
                let text = value.cast::<PyString>().ok().and_then(|text| text.to_str().ok());
                text.map_or(Told::Other, |text| Told::Text(text.into()))
            }
            Some(Err(_)) => Told::Other,
        }
    }

    /// The engine is done with the exchange: lets go of what users put in, unless a task still cleans up.
    pub(crate) fn release(&self) {
        if self.holds.get() == 0 {
            // taken out of the cells first: dropping them runs users' code
            let (state, params) = (self.state.take(), self.params.take());
            drop((state, params));
        }
    }
}

/// Keeps an exchange and its views usable while a task runs.
pub(crate) struct Hold(Option<Rc<Link>>);

impl Hold {
    pub(crate) fn new(link: &Rc<Link>) -> Self {
        link.holds.set(link.holds.get() + 1);
        if let Some(exchange) = link.exchange.borrow().upgrade() {
            link.held.replace(Some(exchange));
        }
        Self(Some(Rc::clone(link)))
    }

    /// For a task that belongs to no exchange.
    pub(crate) fn none() -> Self {
        Self(None)
    }
}

impl Clone for Hold {
    fn clone(&self) -> Self {
        self.0.as_ref().map_or_else(Self::none, Self::new)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let Some(link) = &self.0 else { return };
        link.holds.set(link.holds.get() - 1);
        if link.holds.get() == 0 {
            let held = link.held.take();
            if held.as_ref().is_none_or(|exchange| exchange.is_finished.get()) {
                link.release();
            }
        }
    }
}

/// A hold for Python code to carry.
#[pyclass(frozen)]
pub(crate) struct CarriedHold {
    _hold: ThreadBound<Hold>,
}

impl CarriedHold {
    pub(crate) fn new(hold: &Hold) -> Self {
        Self {
            _hold: ThreadBound::new(hold.clone()),
        }
    }
}

/// The request's id. If the engine has not needed one yet it is made here, in the engine's form, and the engine uses it.
pub(crate) fn request_id(py: Python<'_>, exchange: &Exchange) -> PyResult<String> {
    let mut id = exchange.id.borrow_mut();
    if id.is_empty() {
        *id = py
            .import(intern!(py, "uuid"))?
            .call_method0("uuid4")?
            .getattr("hex")?
            .extract()?;
    }
    Ok(id.clone())
}
