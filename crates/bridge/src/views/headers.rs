//! The header fields of a request or a response, as hooks see them: read where they arrived, edited in place.

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

use headgate_engine::Exchange;
use headgate_wire::{may_be_trailer, Framing, Head};
use pyo3::exceptions::{PyKeyError, PyRuntimeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};

use crate::event_loop::link::Link;
use crate::interpreter::gil::ThreadBound;
use crate::interpreter::text;

/// A view; names are compared without regard to case (RFC 9110 section 5.1) and listed in lower case.
///
/// Fields that say where a message ends or belong to one connection are not among them, the gateway writes those. Of the
/// hidden ones `host`, `content-length` and `upgrade` can be read, and a request's `host` can be set.
#[pyclass(frozen, mapping, module = "headgate._core")]
pub(crate) struct Headers {
    place: ThreadBound<HeadersSource>,
}

/// Whose fields they are.
pub(crate) struct HeadersSource {
    link: Rc<Link>,
    side: Side,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Request,
    Response,
    RequestTrailers,
    ResponseTrailers,
}

impl Side {
    fn is_trailers(self) -> bool {
        matches!(self, Self::RequestTrailers | Self::ResponseTrailers)
    }
}

type Field<'py> = (Bound<'py, PyString>, Bound<'py, PyString>);

impl Headers {
    pub(crate) fn new(link: &Rc<Link>, side: Side) -> Self {
        Self {
            place: ThreadBound::new(HeadersSource {
                link: Rc::clone(link),
                side,
            }),
        }
    }

    fn place(&self) -> PyResult<(Rc<Exchange>, Side)> {
        let place = self.place.get()?;
        Ok((place.link.exchange()?, place.side))
    }

    fn read<T>(&self, read: impl FnOnce(&Exchange, Side, &Head) -> PyResult<T>) -> PyResult<T> {
        let (exchange, side) = self.place()?;
        match side {
            Side::Request => read(&exchange, side, &exchange.request.borrow().head),
            Side::Response => match exchange.response.borrow().as_ref() {
                Some(response) => read(&exchange, side, &response.head),
                None => read(&exchange, side, &Head::empty()),
            },
            Side::RequestTrailers => read_trailers(&exchange.rare().request_trailers, &exchange, side, read),
            Side::ResponseTrailers => {
                read_trailers(&exchange.rare().response_trailers, &exchange, side, read)
            }
        }
    }

    fn edit(&self, edit: impl FnOnce(&mut Head) -> PyResult<()>) -> PyResult<()> {
        let (exchange, side) = self.place()?;
        edit_head(&exchange, side, edit)
    }

    fn find<'py>(
        &self,
        py: Python<'py>,
        name: &Bound<'py, PyString>,
    ) -> PyResult<Option<Bound<'py, PyString>>> {
        let name = text::encode(name)?;
        self.read(|exchange, side, head| {
            if let Some(value) = head.get(&name) {
                return text::decode(py, value).map(Some);
            }
            hidden(exchange, side, &name)
                .map(|value| text::decode(py, &value))
                .transpose()
        })
    }

    fn fields<'py>(&self, py: Python<'py>) -> PyResult<Vec<Field<'py>>> {
        self.read(|_, _, head| {
            head.iter()
                .map(|(name, value)| Ok((lower(py, name)?, text::decode(py, value)?)))
                .collect()
        })
    }

    fn put(&self, name: &Bound<'_, PyString>, value: &Bound<'_, PyString>) -> PyResult<()> {
        let (name, value) = (text::encode(name)?, text::encode(value)?);
        let (exchange, side) = self.place()?;
        refuse_as_trailer(side, &name)?;
        if side == Side::Request && name.eq_ignore_ascii_case(b"host") {
            let mut request = exchange.request.try_borrow_mut().map_err(|_| busy())?;
            return request.set_host(&value).map_err(text::refused);
        }
        edit_head(&exchange, side, |head| {
            head.set(&name, &value).map_err(text::refused)
        })
    }
}

fn edit_head(exchange: &Exchange, side: Side, edit: impl FnOnce(&mut Head) -> PyResult<()>) -> PyResult<()> {
    match side {
        Side::Request => edit(&mut exchange.request.try_borrow_mut().map_err(|_| busy())?.head),
        Side::Response => match exchange.response.try_borrow_mut().map_err(|_| busy())?.as_mut() {
            Some(response) => edit(&mut response.head),
            None => Err(PyRuntimeError::new_err(
                "there is no response to edit; hint: edit it in phase `response`, or return a `Response`",
            )),
        },
        Side::RequestTrailers => edit(
            exchange
                .rare()
                .request_trailers
                .borrow_mut()
                .get_or_insert_default(),
        ),
        Side::ResponseTrailers => edit(
            exchange
                .rare()
                .response_trailers
                .borrow_mut()
                .get_or_insert_default(),
        ),
    }
}

#[pymethods]
impl Headers {
    /// The first value of a field.
    #[pyo3(signature = (name, default = None, /))]
    fn get<'py>(
        &self,
        py: Python<'py>,
        name: &Bound<'py, PyString>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        Ok(self.find(py, name)?.map(Bound::into_any).or(default))
    }

    /// All values of a field, in order.
    #[pyo3(signature = (name, /))]
    fn get_all<'py>(
        &self,
        py: Python<'py>,
        name: &Bound<'py, PyString>,
    ) -> PyResult<Vec<Bound<'py, PyString>>> {
        let bytes = text::encode(name)?;
        let values = self.read(|_, _, head| {
            head.get_all(&bytes)
                .map(|value| text::decode(py, value))
                .collect::<PyResult<Vec<_>>>()
        })?;
        if values.is_empty() {
            return Ok(self.find(py, name)?.into_iter().collect());
        }
        Ok(values)
    }

    /// Adds a field line and keeps those of the same name.
    #[pyo3(signature = (name, value, /))]
    fn add(&self, name: &Bound<'_, PyString>, value: &Bound<'_, PyString>) -> PyResult<()> {
        let (name, value) = (text::encode(name)?, text::encode(value)?);
        refuse_as_trailer(self.place()?.1, &name)?;
        self.edit(|head| head.add(&name, &value).map_err(text::refused))
    }

    /// Sets fields from a mapping, or from (name, value) pairs.
    #[pyo3(signature = (fields, /))]
    fn update(&self, fields: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = fields.py();
        let items = if fields.hasattr(intern!(py, "items"))? {
            fields.call_method0(intern!(py, "items"))?
        } else {
            fields.clone()
        };
        for item in items.try_iter()? {
            let (name, value): Field<'_> = item?.extract()?;
            self.put(&name, &value)?;
        }
        Ok(())
    }

    /// The first value of a field, which is set to `default` if it is absent.
    #[pyo3(signature = (name, default, /))]
    fn setdefault<'py>(
        &self,
        py: Python<'py>,
        name: &Bound<'py, PyString>,
        default: Bound<'py, PyString>,
    ) -> PyResult<Bound<'py, PyString>> {
        if let Some(value) = self.find(py, name)? {
            return Ok(value);
        }
        self.put(name, &default)?;
        Ok(default)
    }

    /// Removes a field and returns its first value.
    #[pyo3(signature = (name, /, *default))]
    fn pop<'py>(
        &self,
        py: Python<'py>,
        name: &Bound<'py, PyString>,
        default: &Bound<'py, PyTuple>,
    ) -> PyResult<Bound<'py, PyAny>> {
        match self.find(py, name)? {
            Some(value) => self.__delitem__(name).map(|()| value.into_any()),
            None if !default.is_empty() => default.get_item(0),
            None => Err(PyKeyError::new_err(name.clone().unbind())),
        }
    }

    /// The names in order, in lower case, once for each field line.
    fn keys<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyString>>> {
        self.read(|_, _, head| head.iter().map(|(name, _)| lower(py, name)).collect())
    }

    /// The values in order.
    fn values<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyString>>> {
        self.read(|_, _, head| head.iter().map(|(_, value)| text::decode(py, value)).collect())
    }

    /// Names and values in order.
    fn items<'py>(&self, py: Python<'py>) -> PyResult<Vec<Field<'py>>> {
        self.fields(py)
    }

    /// Names as the sender wrote them, and values, in order.
    #[getter]
    fn raw<'py>(&self, py: Python<'py>) -> PyResult<Vec<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)>> {
        self.read(|_, _, head| {
            Ok(head
                .iter()
                .map(|(name, value)| (PyBytes::new(py, name), PyBytes::new(py, value)))
                .collect())
        })
    }

    fn __getitem__<'py>(
        &self,
        py: Python<'py>,
        name: &Bound<'py, PyString>,
    ) -> PyResult<Bound<'py, PyString>> {
        self.find(py, name)?
            .ok_or_else(|| PyKeyError::new_err(name.clone().unbind()))
    }

    fn __setitem__(&self, name: &Bound<'_, PyString>, value: &Bound<'_, PyString>) -> PyResult<()> {
        self.put(name, value)
    }

    fn __delitem__(&self, name: &Bound<'_, PyString>) -> PyResult<()> {
        let bytes = text::encode(name)?;
        if self.read(|exchange, side, head| {
            Ok(head.get(&bytes).is_none() && hidden(exchange, side, &bytes).is_some())
        })? {
            return Err(PyValueError::new_err(format!(
                "`{}` cannot be removed; hint: the gateway writes the fields of the connection and the framing itself",
                name.to_string_lossy()
            )));
        }
        self.edit(|head| {
            if head.get(&bytes).is_none() {
                return Err(PyKeyError::new_err(name.clone().unbind()));
            }
            head.remove(&bytes);
            Ok(())
        })
    }

    fn __contains__(&self, name: &Bound<'_, PyAny>) -> PyResult<bool> {
        let Ok(name) = name.cast::<PyString>() else {
            return Ok(false);
        };
        let name = text::encode(name)?;
        self.read(|exchange, side, head| {
            Ok(head.get(&name).is_some() || hidden(exchange, side, &name).is_some())
        })
    }

    fn __len__(&self) -> PyResult<usize> {
        self.read(|_, _, head| Ok(head.iter().count()))
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(self.keys(py)?.into_pyobject(py)?.try_iter()?.into_any())
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let fields = PyDict::new(py);
        for (name, value) in self.fields(py)? {
            fields.set_item(name, value)?;
        }
        Ok(format!("Headers({})", fields.repr()?))
    }
}

/// What can be read of the fields that [`Head`] hides.
fn hidden(exchange: &Exchange, side: Side, name: &[u8]) -> Option<Cow<'static, [u8]>> {
    if !matches!(name.len(), 4 | 7 | 14) || side.is_trailers() {
        return None;
    }
    let name = name.to_ascii_lowercase();
    let length = |length: u64| Cow::Owned(length.to_string().into_bytes());
    if side == Side::Response {
        let response = exchange.response.borrow();
        return response
            .as_ref()?
            .declared_length
            .filter(|_| name == b"content-length")
            .map(length);
    }
    let request = exchange.request.borrow();
    match name.as_slice() {
        b"host" => Some(request.host())
            .filter(|host| !host.is_empty())
            .map(|host| Cow::Owned(host.to_vec())),
        b"upgrade" => request
            .upgrade_protocol()
            .map(|protocol| Cow::Owned(protocol.to_vec())),
        b"content-length" => match request.framing {
            Framing::Length(bytes) => Some(length(bytes)),
            _ => None,
        },
        _ => None,
    }
}

fn read_trailers<T>(
    trailers: &RefCell<Option<Head>>,
    exchange: &Exchange,
    side: Side,
    read: impl FnOnce(&Exchange, Side, &Head) -> PyResult<T>,
) -> PyResult<T> {
    match &*trailers.borrow() {
        Some(trailers) => read(exchange, side, trailers),
        None => read(exchange, side, &Head::empty()),
    }
}

/// Fields that would change a decision already taken if somebody merged them into the head (RFC 9110 section 6.5.1).
fn refuse_as_trailer(side: Side, name: &[u8]) -> PyResult<()> {
    if !side.is_trailers() || may_be_trailer(name) {
        return Ok(());
    }
    Err(PyValueError::new_err(format!(
        "`{}` cannot be a trailer; hint: set it in the head",
        String::from_utf8_lossy(name)
    )))
}

fn lower<'py>(py: Python<'py>, name: &[u8]) -> PyResult<Bound<'py, PyString>> {
    text::decode(py, &name.to_ascii_lowercase())
}

/// The engine reads the head right now: a matcher function runs.
pub(crate) fn busy() -> PyErr {
    PyRuntimeError::new_err(
        "a matcher function cannot change the request; hint: use a `rewrite` or `request` hook",
    )
}
