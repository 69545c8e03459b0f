//! What hooks ask of a request's body: `await request.body()` and its like, over the engine's intake.

use std::rc::Rc;

use headgate_coding::{decode_whole, Coding};
use headgate_engine::{Chunk, Delivery, Exchange, NewBody, Taken, Want};
use headgate_wire::Framing;
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::event_loop::body_source::Stream;
use crate::event_loop::link::{Hold, Link};
use crate::event_loop::report::Origin;
use crate::event_loop::seam::Seam;
use crate::interpreter::gil;
use crate::interpreter::piece::PyPiece;
use crate::interpreter::text;

/// The body, if it was read or replaced already, or if there is none.
pub(crate) fn whole<'py>(py: Python<'py>, exchange: &Exchange) -> PyResult<Option<Bound<'py, PyAny>>> {
    let intake = &exchange.rare().intake;
    if intake.is_streamed() {
        return Err(PyRuntimeError::new_err(
            "a hook has set a stream as the request's body; hint: `set_body` with bytes can be read again",
        ));
    }
    if let Some(chunk) = intake.new_bytes() {
        return Ok(Some(PyPiece::bytes_of(py, &chunk)));
    }
    match intake.taken() {
        Taken::Whole => Ok(Some(PyBytes::new(py, &intake.whole()?).into_any())),
        Taken::Away => Err(used_up()),
        Taken::Nothing if exchange.is_body_open.get() && exchange.has_no_body.get() => {
            intake.read_nothing();
            Ok(Some(PyBytes::new(py, b"").into_any()))
        }
        Taken::Nothing | Taken::Part => Ok(None),
    }
}

/// Whether there is a body: by the framing of the request (RFC 9112 section 6), or by what a hook has put in its place.
pub(crate) fn is_there(exchange: &Exchange) -> bool {
    if let Some(rare) = exchange.known_rare() {
        if rare.intake.is_streamed() {
            return true;
        }
        if let Some(chunk) = rare.intake.new_bytes() {
            return !chunk.bytes().is_empty();
        }
    }
    match exchange.request.borrow().framing {
        Framing::None | Framing::UntilClose => false,
        Framing::Length(length) => length > 0,
        Framing::Chunked => true,
    }
}

/// Asks for some of the body; `future` gets `None` for the whole, a piece, or `None` at the end.
pub(crate) fn want(link: &Rc<Link>, want: Want, future: Py<PyAny>) -> PyResult<()> {
    let exchange = link.exchange()?;
    let intake = &exchange.rare().intake;
    if want == Want::Whole && intake.taken() == Taken::Away {
        return Err(used_up());
    }
    if !exchange.is_body_open.get() {
        return Err(not_now());
    }
    let seam = Seam::current("request.body")?;
    let deliver = move |delivery| {
        Python::attach(|py| {
            if let Err(error) = resolve(py, &seam, future.bind(py), delivery) {
                error.write_unraisable(py, None);
            }
        });
    };
    intake.want(want, Box::new(deliver));
    Ok(())
}

fn resolve(py: Python<'_>, seam: &Seam, future: &Bound<'_, PyAny>, delivery: Delivery) -> PyResult<()> {
    if future.call_method0(intern!(py, "done"))?.is_truthy()? {
        return Ok(());
    }
    match delivery {
        Delivery::Piece(chunk) => {
            future.call_method1(intern!(py, "set_result"), (PyPiece::bytes_of(py, &chunk),))?;
        }
        Delivery::Whole | Delivery::End => {
            future.call_method1(intern!(py, "set_result"), (py.None(),))?;
        }
        Delivery::Over => {
            let error = not_now().into_value(py);
            future.call_method1(intern!(py, "set_exception"), (error,))?;
            // its future may have been dropped
            future.call_method0(intern!(py, "exception"))?;
        }
    }
    seam.notice_work(py);
    Ok(())
}

/// Puts `body` in the place of the request's own.
pub(crate) fn replace(py: Python<'_>, link: &Rc<Link>, body: &Bound<'_, PyAny>) -> PyResult<()> {
    let exchange = link.exchange()?;
    let new_body = if let Ok(text) = body.cast::<PyString>() {
        NewBody::Bytes(PyPiece::copied(py, &text::encode(text)?))
    } else if let Some(piece) = PyPiece::taken(body)? {
        NewBody::Bytes(Rc::new(piece) as Chunk)
    } else if body.is_none() {
        NewBody::Bytes(PyPiece::copied(py, b""))
    } else {
        let named = (
            Origin::new(py, "request.set_body", "request", &exchange),
            Hold::new(link),
        );
        let context = gil::copy_context(py)?;
        let stream = Stream::new(&Seam::current("request.set_body")?, body, &context, named)
            .map_err(|_| wrong_type(body))?;
        NewBody::Stream(Box::new(stream))
    };
    exchange.rare().intake.replace(new_body);
    let mut request = exchange.request.borrow_mut();
    // they speak of the body that was
    for name in [
        &b"content-encoding"[..],
        b"content-md5",
        b"content-digest",
        b"repr-digest",
        b"digest",
    ] {
        request.head.remove(name);
    }
    Ok(())
}

/// What is under the request's Content-Encoding.
pub(crate) fn decoded<'py>(
    py: Python<'py>,
    exchange: &Exchange,
    body: &Bound<'py, PyBytes>,
) -> PyResult<Bound<'py, PyBytes>> {
    let name = {
        let request = exchange.request.borrow();
        let names: Vec<&[u8]> = request.head.get_all(b"content-encoding").collect();
        names.join(&b", "[..])
    };
    if name.is_empty() || name.eq_ignore_ascii_case(b"identity") {
        return Ok(body.clone());
    }
    let shown = String::from_utf8_lossy(&name).into_owned();
    let coding = Coding::from_name(&name).ok_or_else(|| {
        PyValueError::new_err(format!(
            "the request's content-encoding `{shown}` is unknown; hint: gzip, deflate, br and zstd are known"
        ))
    })?;
    let most = exchange.max_buffered_body_bytes();
    match decode_whole(coding, body.as_bytes(), most) {
        Ok(Some(plain)) => Ok(PyBytes::new(py, &plain)),
        Ok(None) => Err(PyValueError::new_err(format!(
            "the request's body is over {most} bytes when decoded; hint: `limits.max_buffered_body_bytes`"
        ))),
        Err(error) => Err(PyValueError::new_err(format!("{error}, `{shown}`"))),
    }
}

fn used_up() -> PyErr {
    PyRuntimeError::new_err(
        "the request body was consumed by `stream(keep=False)`; hint: read it with `keep=True`",
    )
}

fn not_now() -> PyErr {
    PyRuntimeError::new_err(
        "the request's body can be read in phase `request` only; \
         hint: read it there with `await request.body()`, later phases then have it too",
    )
}

fn wrong_type(body: &Bound<'_, PyAny>) -> PyErr {
    let kind = body
        .get_type()
        .name()
        .map_or_else(|_| "?".to_owned(), |name| name.to_string());
    PyTypeError::new_err(format!(
        "a request's body cannot be a `{kind}`; hint: bytes, str, or an (async) iterator of bytes"
    ))
}
