//! A request body that Python code makes while it is sent.

use std::cell::RefCell;
use std::rc::Rc;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use tokio::sync::mpsc::Sender;

use crate::event_loop::pending::Pending;
use crate::event_loop::seam::Seam;
use crate::interpreter::bytes::chunk;
use crate::interpreter::gil::ThreadBound;

/// The producer's end of a request body that is made while it is sent.
#[pyclass(frozen, module = "headgate._core")]
pub(crate) struct Upload {
    parts: ThreadBound<UploadParts>,
}

struct UploadParts {
    seam: Rc<Seam>,
    sender: RefCell<Option<Sender<Option<Vec<u8>>>>>,
}

impl Upload {
    pub(crate) fn new(seam: &Rc<Seam>, sender: Sender<Option<Vec<u8>>>) -> Self {
        Self {
            parts: ThreadBound::new(UploadParts {
                seam: Rc::clone(seam),
                sender: RefCell::new(Some(sender)),
            }),
        }
    }

    fn pass(&self, piece: Option<Vec<u8>>) -> PyResult<Pending> {
        let parts = self.parts.get()?;
        let sender = parts.sender.borrow().clone();
        let work = async move {
            let taken = match sender {
                Some(sender) => sender.send(piece).await.is_ok(),
                None => false,
            };
            Python::attach(|py| Ok(taken.into_pyobject(py)?.to_owned().into_any().unbind()))
        };
        Ok(Pending::new(&parts.seam, Box::pin(work)))
    }
}

#[pymethods]
impl Upload {
    /// Waits until the piece before this one is on its way. False: the server takes no more.
    #[pyo3(signature = (piece, /))]
    fn send(&self, piece: &Bound<'_, PyAny>) -> PyResult<Pending> {
        let bytes = chunk(piece)?.ok_or_else(|| {
            let kind = piece.get_type();
            PyTypeError::new_err(format!("a streamed body yielded `{kind}`; hint: yield bytes"))
        })?;
        self.pass(Some(bytes))
    }

    /// Says that the body is complete.
    fn end(&self) -> PyResult<Pending> {
        self.pass(None)
    }

    /// Closes it; without `end` before, the request is aborted.
    fn close(&self) -> PyResult<()> {
        self.parts.get()?.sender.take();
        Ok(())
    }
}
