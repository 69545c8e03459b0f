//! `headgate.fetch` and its kin: what Python says of a request, as the engine's [`FetchRequest`].

use std::rc::Rc;

use headgate_engine::{upload_channel, FetchBody, FetchRequest, FetchTo};
use headgate_wire::Head;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::event_loop::pending::Pending;
use crate::event_loop::seam::Seam;
use crate::fetch::error::exception;
use crate::fetch::response::FetchResponse;
use crate::fetch::upload::Upload;
use crate::interpreter::bytes::chunk;
use crate::interpreter::text;

/// What a call may say of its request.
pub(crate) struct Options<'a, 'py> {
    pub(crate) method: Option<&'a Bound<'py, PyString>>,
    pub(crate) headers: Option<&'a Bound<'py, PyAny>>,
    pub(crate) body: Option<&'a Bound<'py, PyAny>>,
    pub(crate) json: Option<&'a Bound<'py, PyAny>>,
    pub(crate) timeout: Option<f64>,
    pub(crate) redirects: u32,
    pub(crate) public_only: bool,
}

/// Fetches a URL.
#[pyfunction]
#[pyo3(signature = (url, /, *, method = None, headers = None, body = None, json = None, timeout = None, redirects = 0, public_only = false))]
#[allow(clippy::too_many_arguments)] // why: they are keywords of Python
pub(crate) fn fetch<'py>(
    py: Python<'py>,
    url: String,
    method: Option<&Bound<'py, PyString>>,
    headers: Option<&Bound<'py, PyAny>>,
    body: Option<&Bound<'py, PyAny>>,
    json: Option<&Bound<'py, PyAny>>,
    timeout: Option<f64>,
    redirects: u32,
    public_only: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let options = Options {
        method,
        headers,
        body,
        json,
        timeout,
        redirects,
        public_only,
    };
    begin(py, &Seam::current("headgate.fetch")?, FetchTo::Url(url), &options)
}

/// Fetches from a named upstream.
#[pyfunction]
#[pyo3(signature = (upstream, target, /, *, method = None, headers = None, body = None, json = None, timeout = None, redirects = 0))]
#[allow(clippy::too_many_arguments)] // why: they are keywords of Python
pub(crate) fn fetch_upstream<'py>(
    py: Python<'py>,
    upstream: String,
    target: &Bound<'py, PyString>,
    method: Option<&Bound<'py, PyString>>,
    headers: Option<&Bound<'py, PyAny>>,
    body: Option<&Bound<'py, PyAny>>,
    json: Option<&Bound<'py, PyAny>>,
    timeout: Option<f64>,
    redirects: u32,
) -> PyResult<Bound<'py, PyAny>> {
    let options = Options {
        method,
        headers,
        body,
        json,
        timeout,
        redirects,
        public_only: false,
    };
    let to = FetchTo::Upstream(upstream, own_target(target)?);
    begin(py, &Seam::current("Upstream.fetch")?, to, &options)
}

/// A target in origin form: nothing in it can end the request line.
pub(crate) fn own_target(target: &Bound<'_, PyString>) -> PyResult<Vec<u8>> {
    let bytes = text::encode(target)?;
    if bytes.first() != Some(&b'/')
        || bytes
            .iter()
            .any(|byte| !(0x21..=0x7e).contains(byte) || *byte == b'#')
    {
        return Err(PyValueError::new_err(format!(
            "`{}` is not a valid target; hint: a path that begins with `/`, percent-encoded, and maybe a query",
            String::from_utf8_lossy(&bytes)
        )));
    }
    Ok(bytes.into_owned())
}

/// Makes the awaitable of a fetch.
pub(crate) fn begin<'py>(
    py: Python<'py>,
    seam: &Rc<Seam>,
    to: FetchTo,
    options: &Options<'_, 'py>,
) -> PyResult<Bound<'py, PyAny>> {
    let (mut headers, host) = fields(options.headers)?;
    let (body, upload) = body(seam, options, &mut headers)?;
    let request = FetchRequest {
        method: method(options.method, &body)?,
        to,
        headers,
        host,
        body,
        timeout_ms: options.timeout.map(milliseconds).transpose()?,
        redirects: options.redirects,
        public_only: options.public_only,
    };
    let fetching = seam.worker()?.fetch(request);
    let of_response = Rc::clone(seam);
    let pending = Bound::new(
        py,
        Pending::new(
            seam,
            Box::pin(async move {
                let fetched = fetching.await;
                Python::attach(|py| match fetched {
                    Ok(fetched) => Ok(Py::new(py, FetchResponse::new(&of_response, fetched))?.into_any()),
                    Err(error) => Err(exception(py, &error)),
                })
            }),
        ),
    )?;
    match upload {
        None => Ok(pending.into_any()),
        Some((upload, body)) => py
            .import(intern!(py, "headgate.client"))?
            .call_method1(intern!(py, "send"), (pending, upload, body)),
    }
}

/// What a request is to send, and who makes it while it is sent.
type Body<'a, 'py> = (FetchBody, Option<(Upload, &'a Bound<'py, PyAny>)>);

fn body<'a, 'py>(seam: &Rc<Seam>, options: &Options<'a, 'py>, headers: &mut Head) -> PyResult<Body<'a, 'py>> {
    let given = match (options.body, options.json) {
        (None, None) => return Ok((FetchBody::None, None)),
        (Some(_), Some(_)) => {
            return Err(PyTypeError::new_err(
                "a request must have either `body` or `json`",
            ))
        }
        (None, Some(value)) => {
            let py = value.py();
            let dumped = py
                .import(intern!(py, "json"))?
                .call_method1(intern!(py, "dumps"), (value,))?;
            set_default(headers, b"application/json")?;
            let text = dumped.cast::<PyString>()?.to_str()?;
            return Ok((FetchBody::Bytes(text.as_bytes().into()), None));
        }
        (Some(given), None) => given,
    };
    if given.is_instance_of::<PyString>() {
        set_default(headers, b"text/plain; charset=utf-8")?;
    }
    if let Some(bytes) = chunk(given)? {
        return Ok((FetchBody::Bytes(bytes.into()), None));
    }
    if given.hasattr(intern!(given.py(), "__aiter__"))? {
        let (sender, end) = upload_channel();
        return Ok((FetchBody::Stream(end), Some((Upload::new(seam, sender), given))));
    }
    Err(PyTypeError::new_err(format!(
        "a request's body is a `{}`; hint: bytes, str, an async iterator of bytes, or `json=`",
        given.get_type().name()?
    )))
}

fn method(given: Option<&Bound<'_, PyString>>, body: &FetchBody) -> PyResult<Vec<u8>> {
    let Some(given) = given else {
        let usual: &[u8] = if matches!(body, FetchBody::None) {
            b"GET"
        } else {
            b"POST"
        };
        return Ok(usual.to_vec());
    };
    let method = text::encode(given)?;
    // the rule for field names and for methods is the same (RFC 9110 section 5.6.2)
    if method.is_empty()
        || Head::empty().add(&method, b"").is_err()
        || method.eq_ignore_ascii_case(b"connect")
    {
        return Err(PyValueError::new_err(format!(
            "`{}` is not a method to fetch with",
            String::from_utf8_lossy(&method)
        )));
    }
    Ok(method.into_owned())
}

type Fields = (Head, Option<Vec<u8>>);

fn fields(given: Option<&Bound<'_, PyAny>>) -> PyResult<Fields> {
    let (mut head, mut host) = (Head::empty(), None);
    let Some(given) = given else {
        return Ok((head, host));
    };
    let py = given.py();
    let items = if given.hasattr(intern!(py, "items"))? {
        given.call_method0(intern!(py, "items"))?
    } else {
        given.clone()
    };
    for item in items.try_iter()? {
        let (name, value): (Bound<'_, PyString>, Bound<'_, PyString>) = item?.extract()?;
        let (name, value) = (text::encode(&name)?, text::encode(&value)?);
        if name.eq_ignore_ascii_case(b"host") {
            // checked as any value is
            head.set(b"x-host", &value).map_err(text::refused)?;
            head.remove(b"x-host");
            host = Some(value.into_owned());
        } else {
            head.add(&name, &value).map_err(text::refused)?;
        }
    }
    Ok((head, host))
}

fn set_default(headers: &mut Head, kind: &[u8]) -> PyResult<()> {
    if headers.get(b"content-type").is_some() {
        return Ok(());
    }
    headers.set(b"content-type", kind).map_err(text::refused)
}

fn milliseconds(seconds: f64) -> PyResult<u64> {
    if !(seconds > 0.0 && seconds.is_finite()) {
        return Err(PyValueError::new_err(format!(
            "`{seconds}` is not a valid timeout; hint: seconds, more than 0"
        )));
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    // why: positive; what is too large saturates
    Ok((seconds * 1000.0).ceil() as u64)
}
