//! What is kept for one exchange from its first hook on: the views, and the context that all its hooks run in.

use std::cell::RefCell;
use std::rc::Rc;

use headgate_engine::Exchange;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyContext;

use crate::gil;
use crate::link::{Hold, Link};
use crate::request_view::Request;
use crate::response_view::ResponseView;

thread_local! {
    /// The context variable that tells the current request, while somebody wants to know.
    static NAMED: RefCell<Option<Py<PyAny>>> = const { RefCell::new(None) };
}

/// Has each request that comes from now on set a context variable to itself; `None` ends that.
pub(crate) fn name_requests(variable: Option<Py<PyAny>>) {
    // dropped outside of the cell
    let _old = NAMED.replace(variable);
}

/// The bridge's slot in an exchange. Views hold the exchange weakly, so there is no cycle.
pub(crate) struct Attachment {
    link: Rc<Link>,
    request: Py<Request>,
    context: Py<PyContext>,
    response: Option<Py<ResponseView>>,
}

type Bindings<'py> = (Bound<'py, Request>, Bound<'py, PyContext>);

impl Attachment {
    /// The request's view and the context of an exchange, made now if this is its first hook.
    pub(crate) fn views<'py>(py: Python<'py>, exchange: &Rc<Exchange>) -> PyResult<Bindings<'py>> {
        let mut slot = exchange.attachment.borrow_mut();
        if let Some(attachment) = slot.as_ref().and_then(|slot| slot.downcast_ref::<Self>()) {
            return Ok(attachment.bind(py));
        }
        let link = Link::new(exchange);
        let request = Py::new(py, Request::new(&link))?;
        let context = gil::copy_context(py)?;
        if let Some(name) = NAMED.with_borrow(|named| named.as_ref().map(|named| named.clone_ref(py))) {
            context.call_method1(intern!(py, "run"), (name.bind(py).getattr("set")?, &request))?;
        }
        let attachment = Self {
            link,
            request,
            context: context.unbind(),
            response: None,
        };
        let views = attachment.bind(py);
        slot.replace(Box::new(attachment));
        Ok(views)
    }

    /// The view of the response; the exchange has views already.
    pub(crate) fn response<'py>(
        py: Python<'py>,
        exchange: &Rc<Exchange>,
    ) -> PyResult<Bound<'py, ResponseView>> {
        let mut slot = exchange.attachment.borrow_mut();
        let Some(attachment) = slot.as_mut().and_then(|slot| slot.downcast_mut::<Self>()) else {
            return Bound::new(py, ResponseView::new(&Link::new(exchange)));
        };
        if let Some(response) = &attachment.response {
            return Ok(response.bind(py).clone());
        }
        let response = Bound::new(py, ResponseView::new(&attachment.link))?;
        attachment.response = Some(response.clone().unbind());
        Ok(response)
    }

    /// Keeps the views usable for a task. A hook has run, so the exchange has views.
    pub(crate) fn hold(exchange: &Rc<Exchange>) -> Hold {
        let slot = exchange.attachment.borrow();
        match slot.as_ref().and_then(|slot| slot.downcast_ref::<Self>()) {
            Some(attachment) => Hold::new(&attachment.link),
            None => Hold::new(&Link::new(exchange)),
        }
    }

    fn bind<'py>(&self, py: Python<'py>) -> Bindings<'py> {
        (self.request.bind(py).clone(), self.context.bind(py).clone())
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        Python::attach(|_| self.link.release());
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
