//! What a hook returned, as the engine's verdict.

use std::borrow::Cow;
use std::rc::Rc;

use headgate_engine::{Answer, AnswerBody, BodyVerdict, Exchange, Verdict};
use headgate_wire::Head;
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyContext, PyString};

use crate::attachment::Attachment;
use crate::body_source::{chunk, Stream};
use crate::piece::PyPiece;
use crate::raw_stream::RawStream;
use crate::report::Origin;
use crate::seam::Seam;
use crate::spec::{Hook, Phase};
use crate::text;
use crate::upstream_view::chosen_server;

/// Everything it takes to turn a hook's result into a verdict, now or when its task ends.
pub(crate) struct Converter {
    seam: Rc<Seam>,
    pub(crate) hook: Rc<Hook>,
    pub(crate) exchange: Rc<Exchange>,
    context: Py<PyContext>,
}

impl Converter {
    pub(crate) fn new(
        seam: &Rc<Seam>,
        hook: &Rc<Hook>,
        exchange: &Rc<Exchange>,
        context: &Bound<'_, PyContext>,
    ) -> Self {
        let (seam, hook, exchange) = (Rc::clone(seam), Rc::clone(hook), Rc::clone(exchange));
        Self {
            seam,
            hook,
            exchange,
            context: context.clone().unbind(),
        }
    }

    /// `None` goes on, a response answers, anything else is a mistake.
    pub(crate) fn verdict(&self, result: &Bound<'_, PyAny>) -> PyResult<Verdict> {
        if result.is_none() {
            return Ok(Verdict::Continue);
        }
        if self.hook.phase == Phase::Balance {
            if let Some(server) = chosen_server(&self.exchange, result)? {
                return Ok(Verdict::Server(server));
            }
        }
        match listed_fields(result)? {
            Some(headers) if self.hook.phase.may_answer() => {
                let answer = self.answer(result, &headers)?;
                Ok(Verdict::Answer(Box::new(answer)))
            }
            _ => Err(self.nonsense(result)),
        }
    }

    /// `None` keeps a piece, bytes replace it, a response answers while nothing has been sent.
    pub(crate) fn body_verdict(&self, result: &Bound<'_, PyAny>) -> PyResult<BodyVerdict> {
        if result.is_none() {
            return Ok(BodyVerdict::Keep);
        }
        if let Some(piece) = PyPiece::taken(result)? {
            let (length, most) = (piece.len(), self.exchange.max_hook_chunk_bytes());
            if length > most {
                return Err(PyValueError::new_err(format!(
                    "hook `{}` made {length} bytes of one chunk of a body; \
                     hint: `limits.max_hook_chunk_bytes` is {most}",
                    self.hook.name
                )));
            }
            return Ok(BodyVerdict::Replace(Rc::new(piece)));
        }
        let Some(headers) = result.getattr_opt(intern!(result.py(), "raw_headers"))? else {
            return Err(self.nonsense(result));
        };
        if self.exchange.status.get() != 0 {
            return Err(PyRuntimeError::new_err(format!(
                "hook `{}` answers when the response has begun; hint: take the body whole, with `mode=\"buffer\"`",
                self.hook.name
            )));
        }
        let answer = self.answer(result, &headers)?;
        Ok(BodyVerdict::Answer(Box::new(answer)))
    }

    fn answer(&self, response: &Bound<'_, PyAny>, headers: &Bound<'_, PyAny>) -> PyResult<Answer> {
        let py = response.py();
        let status: i64 = response.getattr(intern!(py, "status"))?.extract()?;
        let body = response.getattr(intern!(py, "body"))?;
        if let (101, Ok(stream)) = (status, body.cast::<RawStream>()) {
            return Ok(Answer {
                status: 101,
                headers: fields(headers)?,
                body: AnswerBody::Tunnel(stream.get().take_far()?),
            });
        }
        let status = u16::try_from(status)
            .ok()
            .filter(|status| (200..=599).contains(status))
            .ok_or_else(|| {
                PyValueError::new_err(format!("a response has status `{status}`; hint: 200 to 599"))
            })?;
        Ok(Answer {
            status,
            headers: fields(headers)?,
            body: self.body(&body)?,
        })
    }

    fn body(&self, body: &Bound<'_, PyAny>) -> PyResult<AnswerBody> {
        if body.is_none() {
            return Ok(AnswerBody::Bytes(Vec::new()));
        }
        if let Some(bytes) = chunk(body)? {
            return Ok(AnswerBody::Bytes(bytes));
        }
        let py = body.py();
        let named = (
            Origin::new(py, &self.hook, &self.exchange),
            Attachment::hold(&self.exchange),
        );
        let stream = Stream::new(&self.seam, body, self.context.bind(py), named)?;
        Ok(AnswerBody::Stream(Box::new(stream)))
    }

    fn nonsense(&self, result: &Bound<'_, PyAny>) -> PyErr {
        let kind = result
            .get_type()
            .name()
            .map_or_else(|_| "?".to_owned(), |name| name.to_string());
        let hint = if self.hook.phase.is_of_body() {
            "return nothing to keep the chunk, or bytes to put in its place; text must be encoded"
        } else if self.hook.phase == Phase::Balance {
            "return nothing, one of `upstream.servers`, or the address of one"
        } else if self.hook.phase.may_answer() {
            "return nothing to go on, or a `headgate.Response` to answer"
        } else {
            "nothing can be answered in this phase: return nothing"
        };
        PyTypeError::new_err(format!(
            "hook `{}` returned a `{kind}`; hint: {hint}",
            self.hook.name
        ))
    }
}

/// The list of an answer's fields: what `headgate.Response` keeps, else what the object calls `raw_headers`.
fn listed_fields<'py>(result: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = result.py();
    if let Some(headers) = result.getattr_opt(intern!(py, "headers"))? {
        if let Some(fields) = headers.getattr_opt(intern!(py, "_fields"))? {
            return Ok(Some(fields));
        }
    }
    result.getattr_opt(intern!(py, "raw_headers"))
}

/// The fields of an answer. They pass the same checks as those of a message on the wire: no line break gets into a head.
fn fields(headers: &Bound<'_, PyAny>) -> PyResult<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut checked = Head::empty();
    let mut fields = Vec::new();
    for field in headers.try_iter()? {
        let (name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = field?.extract()?;
        let (name, value) = (field_bytes(&name)?, field_bytes(&value)?);
        checked.add(&name, &value).map_err(text::refused)?;
        fields.push((name, value));
    }
    Ok(fields)
}

fn field_bytes(part: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    match part.cast::<PyString>() {
        Ok(part) => text::encode(part).map(Cow::into_owned),
        Err(_) => Ok(part.cast::<PyBytes>()?.as_bytes().to_vec()),
    }
}
