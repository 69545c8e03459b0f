//! Calling the hooks of phase `websocket_message`, and what they gave back.

use std::rc::Rc;

use headgate_engine::websocket::{Message, Party};
use headgate_engine::{Exchange, MessageStep, MessageVerdict};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use crate::attachment::Attachment;
use crate::gil::Entered;
use crate::hooks::outcome;
use crate::report::Origin;
use crate::seam::Seam;
use crate::spec::{Hook, OnError};
use crate::step::{first_step, to_coroutine, First};
use crate::verdict::Converter;
use crate::websocket_view::{self, WebSocketMessage};

/// Shows one hook a message: in the exchange's own context, an async one's first step included.
pub(crate) fn run(
    py: Python<'_>,
    seam: &Rc<Seam>,
    hook: &Rc<Hook>,
    exchange: &Rc<Exchange>,
    (message, from): (&Message, Party),
    began: u64,
) -> PyResult<MessageStep> {
    let (request, context) = Attachment::views(py, exchange)?;
    let entered = Entered::new(&context)?;
    let shown = Bound::new(py, WebSocketMessage::new(py, message, from))?;
    let result = hook.function.bind(py).call1((request, shown))?;
    if result.is_none() {
        return Ok(MessageStep::Ready(MessageVerdict::Pass));
    }
    let converter = Converter::new(seam, hook, exchange, &context);
    let Some(coroutine) = to_coroutine(seam, &result)? else {
        return verdict(&converter, &result).map(MessageStep::Ready);
    };
    let first = first_step(seam, &coroutine, &context, || {
        let (hook, exchange) = (Rc::clone(hook), Rc::clone(exchange));
        Box::new(move |py| (Origin::new(py, &hook, &exchange), Attachment::hold(&exchange)))
    })?;
    drop(entered);
    match first {
        First::Done(result) => verdict(&converter, &result).map(MessageStep::Ready),
        First::Waits(waiting) => Ok(MessageStep::Waiting(Box::pin(async move {
            let given = outcome(waiting, &converter, began, verdict).await;
            given.unwrap_or_else(|| failed(&converter.hook))
        }))),
    }
}

/// What becomes of a message whose hook failed.
pub(crate) fn failed(hook: &Hook) -> MessageVerdict {
    match hook.on_error {
        OnError::Closed => MessageVerdict::Failed,
        OnError::Open => MessageVerdict::Pass,
    }
}

/// Nothing passes the message on; text, bytes, or a list of them goes in its place.
fn verdict(converter: &Converter, result: &Bound<'_, PyAny>) -> PyResult<MessageVerdict> {
    if result.is_none() {
        return Ok(MessageVerdict::Pass);
    }
    let mut messages = Vec::new();
    if let Some(message) = websocket_view::message(result)? {
        messages.push(message);
    } else if result.is_instance_of::<PyList>() || result.is_instance_of::<PyTuple>() {
        for item in result.try_iter()? {
            let item = item?;
            let message = websocket_view::message(&item)?.ok_or_else(|| nonsense(converter, &item))?;
            messages.push(message);
        }
    } else {
        return Err(nonsense(converter, result));
    }
    let (length, most): (usize, _) = (
        messages.iter().map(Message::len).sum(),
        converter.exchange.max_hook_chunk_bytes(),
    );
    if length > most {
        return Err(PyValueError::new_err(format!(
            "hook `{}` made {length} bytes of one message; hint: `limits.max_hook_chunk_bytes` is {most}",
            converter.hook.name
        )));
    }
    Ok(MessageVerdict::Replace(messages))
}

fn nonsense(converter: &Converter, result: &Bound<'_, PyAny>) -> PyErr {
    let kind = result
        .get_type()
        .name()
        .map_or_else(|_| "?".to_owned(), |name| name.to_string());
    PyTypeError::new_err(format!(
        "hook `{}` returned a `{kind}`; hint: return nothing to pass the message on, text or bytes in its place, or a \
         list of them (an empty one drops it)",
        converter.hook.name
    ))
}
