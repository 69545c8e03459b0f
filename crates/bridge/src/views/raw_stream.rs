//! Bytes both ways between an upgraded client and Python code: the body of a 101 response.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use headgate_engine::{virtual_pair, Duplex, VirtualEnd};
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;

use crate::event_loop::pending::Pending;
use crate::event_loop::seam::Seam;
use crate::interpreter::bytes::chunk;
use crate::interpreter::bytes::to_bytes;
use crate::interpreter::gil::ThreadBound;

/// The most that one read gives.
const READ_BYTES: usize = 64 * 1024;

/// See the module.
#[pyclass(frozen, module = "headgate._core")]
pub(crate) struct RawStream {
    parts: ThreadBound<Rc<RawStreamParts>>,
}

struct RawStreamParts {
    seam: Rc<Seam>,
    near: RefCell<Option<VirtualEnd>>,
    /// The engine's end, until the response takes it.
    far: RefCell<Option<VirtualEnd>>,
    reader: RefCell<Option<Waker>>,
}

impl RawStream {
    /// The engine's end; it is given once.
    pub(crate) fn take_far(&self) -> PyResult<VirtualEnd> {
        self.parts
            .get()?
            .far
            .take()
            .ok_or_else(|| PyRuntimeError::new_err("the stream is already the body of another response"))
    }
}

impl RawStreamParts {
    fn poll_read(&self, context: &mut Context<'_>, buffer: &mut Vec<u8>) -> Poll<()> {
        let mut near = self.near.borrow_mut();
        let Some(near) = near.as_mut() else {
            return Poll::Ready(());
        };
        if Duplex::poll_read(near, context, buffer, READ_BYTES).is_ready() {
            return Poll::Ready(());
        }
        self.reader.replace(Some(context.waker().clone()));
        Poll::Pending
    }

    /// Ready with whether all is written.
    fn poll_write(&self, context: &mut Context<'_>, bytes: &[u8], written: &mut usize) -> Poll<bool> {
        let mut near = self.near.borrow_mut();
        let Some(near) = near.as_mut() else {
            return Poll::Ready(false);
        };
        while *written < bytes.len() {
            match Duplex::poll_write(near, context, &bytes[*written..], &[]) {
                Poll::Ready(Ok(n)) => *written += n,
                Poll::Ready(Err(_)) => return Poll::Ready(false),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(true)
    }
}

#[pymethods]
impl RawStream {
    #[new]
    fn new() -> PyResult<Self> {
        let (near, far) = virtual_pair();
        Ok(Self {
            parts: ThreadBound::new(Rc::new(RawStreamParts {
                seam: Seam::current("headgate._core.RawStream")?,
                near: RefCell::new(Some(near)),
                far: RefCell::new(Some(far)),
                reader: RefCell::default(),
            })),
        })
    }

    /// The next bytes from the client; none at its end.
    fn read(&self) -> PyResult<Pending> {
        let parts = Rc::clone(self.parts.get()?);
        let seam = Rc::clone(&parts.seam);
        let work = async move {
            let mut buffer = Vec::new();
            poll_fn(|context| parts.poll_read(context, &mut buffer)).await;
            Python::attach(|py| Ok(to_bytes(py, &buffer)))
        };
        Ok(Pending::new(&seam, Box::pin(work)))
    }

    /// Sends bytes, as the client takes them. False: it has disconnected.
    #[pyo3(signature = (data, /))]
    fn write(&self, data: &Bound<'_, PyAny>) -> PyResult<Pending> {
        let bytes =
            chunk(data)?.ok_or_else(|| PyTypeError::new_err("bytes are written; hint: encode text"))?;
        let parts = Rc::clone(self.parts.get()?);
        let seam = Rc::clone(&parts.seam);
        let work = async move {
            let mut written = 0;
            let taken = poll_fn(|context| parts.poll_write(context, &bytes, &mut written)).await;
            Python::attach(|py| Ok(taken.into_pyobject(py)?.to_owned().into_any().unbind()))
        };
        Ok(Pending::new(&seam, Box::pin(work)))
    }

    /// Ends both directions; what was written still goes out.
    fn close(&self) -> PyResult<()> {
        let parts = self.parts.get()?;
        let near = parts.near.take();
        drop(near);
        if let Some(waker) = parts.reader.take() {
            waker.wake();
        }
        Ok(())
    }
}
