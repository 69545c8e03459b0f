//! Pieces of bodies that are Python `bytes`: what a hook gave goes to the socket without another copy.

use std::any::Any;
use std::io;
use std::ops::Deref;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::task::{ready, Poll};

use headgate_engine::{Chunk, Piece, Read};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyByteArray, PyBytes, PyMemoryView};

use crate::interpreter::gil;

/// A `bytes` object as the engine reads it.
pub(crate) struct PyPiece(PyBackedBytes);

impl PyPiece {
    /// A new object with these bytes.
    pub(crate) fn copied(py: Python<'_>, bytes: &[u8]) -> Chunk {
        Rc::new(Self(PyBackedBytes::from(PyBytes::new(py, bytes))))
    }

    /// A new object that is read into. The socket's bytes are copied once, by the kernel.
    pub(crate) fn read(py: Python<'_>, most: usize, read: Read<'_>) -> Poll<io::Result<Chunk>> {
        let bytes = ready!(gil::read_bytes(py, most, read))?;
        Poll::Ready(Ok(Rc::new(Self(PyBackedBytes::from(bytes)))))
    }

    /// A new object of what a pipe holds. Copied once, by the kernel.
    pub(crate) fn from_pipe(py: Python<'_>, most: usize, pipe: BorrowedFd<'_>) -> io::Result<Chunk> {
        let bytes = gil::read_pipe(py, most, pipe)?;
        Ok(Rc::new(Self(PyBackedBytes::from(bytes))))
    }

    /// The object of a chunk; a chunk that is none is copied into one.
    pub(crate) fn bytes_of<'py>(py: Python<'py>, chunk: &Chunk) -> Bound<'py, PyAny> {
        let own = chunk.as_any().downcast_ref::<Self>();
        let object = own.and_then(|own| own.0.clone_ref(py).into_pyobject(py).ok());
        object
            .unwrap_or_else(|| PyBytes::new(py, chunk.bytes()))
            .into_any()
    }

    /// What a hook gave, if it is bytes-like.
    pub(crate) fn taken(value: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        if let Ok(bytes) = value.cast::<PyBytes>() {
            return Ok(Some(Self(PyBackedBytes::from(bytes.clone()))));
        }
        if value.is_instance_of::<PyByteArray>() || value.is_instance_of::<PyMemoryView>() {
            // they may change while the bytes wait to be sent
            let bytes = value.py().get_type::<PyBytes>().call1((value,))?;
            return Ok(Some(Self(PyBackedBytes::from(bytes.cast_into::<PyBytes>()?))));
        }
        Ok(None)
    }
}

impl Deref for PyPiece {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Piece for PyPiece {
    fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
