//! What hooks of phase `websocket_message` gave back.

use std::rc::Rc;

use headgate_engine::websocket::Message;
use headgate_engine::{Exchange, MessageVerdict};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use crate::calls::calling::{Call, Meaning};
use crate::calls::spec::Hook;
use crate::views::websocket;

/// Nothing passes the message on; text, bytes, or a list of them goes in its place.
impl Meaning<Rc<Exchange>> for MessageVerdict {
    const NOTHING: Self = Self::Pass;
    const FAILED: Self = Self::Failed;

    fn of(call: &Call<'_, Rc<Exchange>>, result: &Bound<'_, PyAny>) -> PyResult<Self> {
        let mut messages = Vec::new();
        if let Some(message) = websocket::message(result)? {
            messages.push(message);
        } else if result.is_instance_of::<PyList>() || result.is_instance_of::<PyTuple>() {
            for item in result.try_iter()? {
                let item = item?;
                let message = websocket::message(&item)?.ok_or_else(|| nonsense(call.hook, &item))?;
                messages.push(message);
            }
        } else {
            return Err(nonsense(call.hook, result));
        }
        let (length, most): (usize, _) = (
            messages.iter().map(Message::len).sum(),
            call.subject.max_hook_chunk_bytes(),
        );
        if length > most {
            return Err(PyValueError::new_err(format!(
                "hook `{}` made {length} bytes of one message; hint: `limits.max_hook_chunk_bytes` is {most}",
                call.hook.name
            )));
        }
        Ok(Self::Replace(messages))
    }
}

fn nonsense(hook: &Hook, result: &Bound<'_, PyAny>) -> PyErr {
    let kind = result
        .get_type()
        .name()
        .map_or_else(|_| "?".to_owned(), |name| name.to_string());
    PyTypeError::new_err(format!(
        "hook `{}` returned a `{kind}`; hint: return nothing to pass the message on, text or bytes in its place, or a \
         list of them (an empty one drops it)",
        hook.name
    ))
}
