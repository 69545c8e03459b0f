//! What a hook returned, as the engine's verdict.

use std::borrow::Cow;
use std::rc::Rc;

use headgate_engine::{BodyVerdict, Exchange, Flag, HookResponse, HookResponseBody, Phase, Verdict};
use headgate_wire::Head;
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyString, PyType};

use crate::calls::calling::{Call, Meaning, Subject};
use crate::calls::spec::Hook;
use crate::event_loop::body_source::Stream;
use crate::interpreter::bytes::chunk;
use crate::interpreter::piece::PyPiece;
use crate::interpreter::text;
use crate::views::raw_stream::RawStream;
use crate::views::upstream::{chosen_server, chosen_subset};

type Exchanged<'a> = Call<'a, Rc<Exchange>>;

/// Nothing goes on, a response is sent instead, anything else is a mistake; a `balance` hook may name a server, or the
/// metadata of some, a `retry` hook say no.
impl Meaning<Rc<Exchange>> for Verdict {
    const NOTHING: Self = Self::Continue;
    const FAILED: Self = Self::Failed;

    fn of(call: &Exchanged<'_>, result: &Bound<'_, PyAny>) -> PyResult<Self> {
        if call.hook.phase == Phase::Balance {
            if let Some(server) = chosen_server(call.subject, result)? {
                return Ok(Self::Server(server));
            }
            if let Some(subset) = chosen_subset(result)? {
                return Ok(Self::Subset(Box::new(subset)));
            }
        }
        if call.hook.phase == Phase::Retry {
            if let Ok(repeats) = result.cast::<PyBool>() {
                return Ok(if repeats.is_true() {
                    Self::Continue
                } else {
                    Self::NoRetry
                });
            }
        }
        match listed_fields(result)? {
            Some(headers) if call.hook.phase.has(Flag::CanRespond) => {
                let response = response(call, result, &headers)?;
                Ok(Self::Respond(Box::new(response)))
            }
            _ => Err(nonsense(call.hook, result)),
        }
    }
}

/// Nothing keeps a piece, bytes replace it, a response is sent instead while nothing has been sent.
impl Meaning<Rc<Exchange>> for BodyVerdict {
    const NOTHING: Self = Self::Keep;
    const FAILED: Self = Self::Failed;

    fn of(call: &Exchanged<'_>, result: &Bound<'_, PyAny>) -> PyResult<Self> {
        let name = &call.hook.name;
        if let Some(piece) = PyPiece::taken(result)? {
            let (length, most) = (piece.len(), call.subject.max_hook_chunk_bytes());
            if length > most {
                return Err(PyValueError::new_err(format!(
                    "hook `{name}` made {length} bytes of one chunk of a body; \
                     hint: `limits.max_hook_chunk_bytes` is {most}"
                )));
            }
            return Ok(Self::Replace(Rc::new(piece)));
        }
        let Some(headers) = listed_fields(result)? else {
            return Err(nonsense(call.hook, result));
        };
        if call.subject.status.get() != 0 {
            return Err(PyRuntimeError::new_err(format!(
                "hook `{name}` responds after the response has begun; hint: take the body whole, with `mode=\"buffer\"`"
            )));
        }
        let response = response(call, result, &headers)?;
        Ok(Self::Respond(Box::new(response)))
    }
}

fn response(
    call: &Exchanged<'_>,
    response: &Bound<'_, PyAny>,
    headers: &Bound<'_, PyAny>,
) -> PyResult<HookResponse> {
    let py = response.py();
    let status: i64 = response.getattr(intern!(py, "status"))?.extract()?;
    let body = response.getattr(intern!(py, "body"))?;
    if let (101, Ok(stream)) = (status, body.cast::<RawStream>()) {
        return Ok(HookResponse {
            status: 101,
            head: head(headers)?,
            body: HookResponseBody::Tunnel(stream.get().take_far()?),
        });
    }
    let status = u16::try_from(status)
        .ok()
        .filter(|status| (200..=599).contains(status))
        .ok_or_else(|| {
            PyValueError::new_err(format!(
                "`{status}` is not a valid response status; hint: 200 to 599"
            ))
        })?;
    Ok(HookResponse {
        status,
        head: head(headers)?,
        body: response_body(call, &body)?,
    })
}

fn response_body(call: &Exchanged<'_>, body: &Bound<'_, PyAny>) -> PyResult<HookResponseBody> {
    if body.is_none() {
        return Ok(HookResponseBody::Bytes(Vec::new()));
    }
    if let Some(bytes) = chunk(body)? {
        return Ok(HookResponseBody::Bytes(bytes));
    }
    let py = body.py();
    let (_, context) = call.subject.views(py)?;
    let named = (call.subject.origin(py, call.hook), call.subject.hold());
    let stream = Stream::new(call.seam, body, &context, named)?;
    Ok(HookResponseBody::Stream(Box::new(stream)))
}

fn nonsense(hook: &Hook, result: &Bound<'_, PyAny>) -> PyErr {
    let kind = result
        .get_type()
        .name()
        .map_or_else(|_| "?".to_owned(), |name| name.to_string());
    let hint = if hook.phase.has(Flag::HasBody) {
        "return nothing to keep the chunk, or bytes to put in its place; text must be encoded"
    } else if hook.phase == Phase::Retry {
        "return nothing or True if the attempt may be repeated, False if not"
    } else if hook.phase == Phase::Balance {
        "return nothing, one of `upstream.servers`, the address of one, or metadata of some: `{\"version\": \"v2\"}`"
    } else if hook.phase.has(Flag::CanRespond) {
        "return nothing to go on, or a `headgate.Response` to send"
    } else {
        "a hook of this phase cannot respond: return nothing"
    };
    PyTypeError::new_err(format!("hook `{}` returned a `{kind}`; hint: {hint}", hook.name))
}

/// The list of a response's fields: what `headgate.Response` keeps, else what the object calls `raw_headers`. A class has
/// none, though it has attributes of these names.
fn listed_fields<'py>(result: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = result.py();
    if result.is_instance_of::<PyType>() {
        return Ok(None);
    }
    if let Some(headers) = result.getattr_opt(intern!(py, "headers"))? {
        if let Some(fields) = headers.getattr_opt(intern!(py, "_fields"))? {
            return Ok(Some(fields));
        }
    }
    result.getattr_opt(intern!(py, "raw_headers"))
}

/// The fields of a response. They pass the same checks as those of a message on the wire: no line break gets into a head.
fn head(headers: &Bound<'_, PyAny>) -> PyResult<Head> {
    let mut head = Head::with_room();
    for field in headers.try_iter()? {
        let (name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = field?.extract()?;
        head.add(&field_bytes(&name)?, &field_bytes(&value)?)
            .map_err(text::refused)?;
    }
    Ok(head)
}

fn field_bytes<'a>(part: &'a Bound<'_, PyAny>) -> PyResult<Cow<'a, [u8]>> {
    match part.cast::<PyString>() {
        Ok(part) => text::encode(part),
        Err(_) => Ok(Cow::Borrowed(part.cast::<PyBytes>()?.as_bytes())),
    }
}
