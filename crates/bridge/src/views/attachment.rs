//! What is kept for one exchange from its first hook on: the views, and the context that all its hooks run in.

use std::cell::RefCell;
use std::rc::Rc;

use headgate_engine::{Exchange, Told};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyContext;

use crate::event_loop::link::{Hold, Link};
use crate::interpreter::gil;
use crate::views::request::Request;
use crate::views::response::ResponseView;

thread_local! {
    /// The context variable that tells the current request, while somebody wants to know.
    static NAMED: RefCell<Option<Py<PyAny>>> = const { RefCell::new(None) };
}

/// Has each request that comes from now on set a context variable to itself; `None` ends that.
pub(crate) fn name_requests(variable: Option<Py<PyAny>>) {
    // dropped outside of the cell
    let _old = NAMED.replace(variable);
}

/// Whether somebody wants to know the current request.
pub(crate) fn names_requests() -> bool {
    NAMED.with_borrow(Option::is_some)
}

thread_local! {
    /// Views that no hook has kept, for the next requests: creating them is a good part of what a hook costs.
    static SPARE: RefCell<Vec<Views>> = const { RefCell::new(Vec::new()) };
}

/// So many; more requests than that are seldom in their hooks at once.
const MAX_SPARE: usize = 256;

/// The bridge's slot in an exchange. Views hold the exchange weakly, so there is no cycle.
pub(crate) struct Attachment {
    /// There until this is dropped.
    views: Option<Views>,
    context: Py<PyContext>,
}

struct Views {
    link: Rc<Link>,
    request: Py<Request>,
    response: Option<Py<ResponseView>>,
}

impl Views {
    fn new(py: Python<'_>, exchange: &Rc<Exchange>) -> PyResult<Self> {
        if let Some(spare) = SPARE.with_borrow_mut(Vec::pop) {
            spare.link.renew(exchange);
            return Ok(spare);
        }
        let link = Link::new(exchange);
        let request = Py::new(py, Request::new(py, &link)?)?;
        Ok(Self {
            link,
            request,
            response: None,
        })
    }

    /// Keeps them for another request, if no other code can still reach one.
    fn recycle(self, py: Python<'_>) {
        if self.are_alone(py) == Some(true) {
            SPARE.with_borrow_mut(|spare| {
                if spare.len() < MAX_SPARE {
                    self.link.untie();
                    spare.push(self);
                }
            });
        }
    }

    fn are_alone(&self, py: Python<'_>) -> Option<bool> {
        let request = self.request.bind(py);
        if !gil::is_alone(request) || gil::has_weak_references(request) {
            return None;
        }
        let mut count = self.request.get().reset(py)?;
        if let Some(response) = &self.response {
            if !gil::is_alone(response.bind(py)) {
                return None;
            }
            count += response.get().count_alone(py)?;
        }
        // each view holds the link once; a task that still cleans up would too
        Some(Rc::strong_count(&self.link) == 1 + count)
    }
}

type Bindings<'py> = (Bound<'py, Request>, Bound<'py, PyContext>);

impl Attachment {
    /// The request's view and the context of an exchange, made now if this is its first hook.
    pub(crate) fn views<'py>(py: Python<'py>, exchange: &Rc<Exchange>) -> PyResult<Bindings<'py>> {
        let mut slot = exchange.attachment.borrow_mut();
        if let Some(attachment) = slot.as_ref().and_then(|slot| slot.downcast_ref::<Self>()) {
            if let Some(views) = &attachment.views {
                return Ok((
                    views.request.bind(py).clone(),
                    attachment.context.bind(py).clone(),
                ));
            }
        }
        let views = Views::new(py, exchange)?;
        let context = gil::copy_context(py)?;
        if let Some(name) = NAMED.with_borrow(|named| named.as_ref().map(|named| named.clone_ref(py))) {
            let request = views.request.bind(py);
            context.call_method1(intern!(py, "run"), (name.bind(py).getattr("set")?, request))?;
        }
        let bindings = (views.request.bind(py).clone(), context.clone());
        slot.replace(Box::new(Self {
            views: Some(views),
            context: context.unbind(),
        }));
        Ok(bindings)
    }

    /// The view of the response; the exchange has views already.
    pub(crate) fn response<'py>(
        py: Python<'py>,
        exchange: &Rc<Exchange>,
    ) -> PyResult<Bound<'py, ResponseView>> {
        let mut slot = exchange.attachment.borrow_mut();
        let attachment = slot.as_mut().and_then(|slot| slot.downcast_mut::<Self>());
        let Some(views) = attachment.and_then(|attachment| attachment.views.as_mut()) else {
            return Bound::new(py, ResponseView::new(py, &Link::new(exchange))?);
        };
        if let Some(response) = &views.response {
            return Ok(response.bind(py).clone());
        }
        let response = Bound::new(py, ResponseView::new(py, &views.link)?)?;
        views.response = Some(response.clone().unbind());
        Ok(response)
    }

    /// What hooks have set an attribute of `request.state` to.
    pub(crate) fn said(exchange: &Exchange, name: &str) -> Told {
        let slot = exchange.attachment.borrow();
        let attachment = slot.as_ref().and_then(|slot| slot.downcast_ref::<Self>());
        match attachment.and_then(|attachment| attachment.views.as_ref()) {
            Some(views) => gil::held(|py| views.link.said(py, name)),
            None => Told::Unset,
        }
    }

    /// Keeps the views usable for a task. A hook has run, so the exchange has views.
    pub(crate) fn hold(exchange: &Rc<Exchange>) -> Hold {
        let slot = exchange.attachment.borrow();
        let attachment = slot.as_ref().and_then(|slot| slot.downcast_ref::<Self>());
        match attachment.and_then(|attachment| attachment.views.as_ref()) {
            Some(views) => Hold::new(&views.link),
            None => Hold::new(&Link::new(exchange)),
        }
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        gil::held(|py| {
            if let Some(views) = self.views.take() {
                views.link.release();
                views.recycle(py);
            }
        });
    }
}
