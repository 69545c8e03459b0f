//! A streamed body: an iterator of bytes, async or not, pulled as the client takes it.

use std::rc::Rc;

use headgate_engine::{BodyFailed, BodySource, LocalFuture};
use pyo3::exceptions::{PyStopAsyncIteration, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyContext, PyIterator, PyString};

use crate::event_loop::first_step::{first_step, to_coroutine, First};
use crate::event_loop::link::{CarriedHold, Hold};
use crate::event_loop::report::Origin;
use crate::event_loop::seam::Seam;
use crate::event_loop::waiting::WaitingTask;
use crate::interpreter::bytes::chunk;
use crate::interpreter::gil::Entered;

/// The iterator and what it takes to run it.
pub(crate) struct Stream {
    seam: Rc<Seam>,
    chunks: Chunks,
    context: Py<PyContext>,
    origin: Origin,
    hold: Hold,
    /// The task that waits for the next chunk.
    reader: Option<Py<PyAny>>,
    has_ended: bool,
}

enum Chunks {
    Async(Py<PyAny>),
    Sync(Py<PyIterator>),
}

impl Stream {
    /// Takes an async iterable or an iterable.
    pub(crate) fn new(
        seam: &Rc<Seam>,
        body: &Bound<'_, PyAny>,
        context: &Bound<'_, PyContext>,
        (origin, hold): (Origin, Hold),
    ) -> PyResult<Self> {
        let py = body.py();
        let chunks = if body.hasattr(intern!(py, "__aiter__"))? {
            Chunks::Async(body.call_method0(intern!(py, "__aiter__"))?.unbind())
        } else if !body.is_instance_of::<PyString>() && body.hasattr(intern!(py, "__iter__"))? {
            Chunks::Sync(body.try_iter()?.unbind())
        } else {
            return Err(PyTypeError::new_err(format!(
                "a response's body is a `{}`; hint: bytes, or an async generator of bytes",
                body.get_type().name()?
            )));
        };
        let context = context.clone().unbind();
        Ok(Self {
            seam: Rc::clone(seam),
            chunks,
            context,
            origin,
            hold,
            reader: None,
            has_ended: false,
        })
    }

    async fn pull(&mut self) -> PyResult<Option<Vec<u8>>> {
        let first = Python::attach(|py| {
            let first = self.first(py);
            self.seam.notice_work(py);
            first
        });
        let ended = match first {
            Ok(Pulled::Waits(waiting)) => {
                self.reader = Python::attach(|py| waiting.task(py));
                let ended = waiting.ended().await;
                self.reader = None;
                ended
            }
            Ok(Pulled::Chunk(chunk)) => Ok(chunk),
            Ok(Pulled::End) => return Ok(None),
            Err(error) => Err(error),
        };
        Python::attach(|py| match ended {
            Ok(value) => required_chunk(value.bind(py)).map(Some),
            Err(error) if error.is_instance_of::<PyStopAsyncIteration>(py) => Ok(None),
            Err(error) => Err(error),
        })
    }

    fn first(&self, py: Python<'_>) -> PyResult<Pulled> {
        let context = self.context.bind(py);
        let _entered = Entered::new(context)?;
        let stream = match &self.chunks {
            Chunks::Sync(chunks) => {
                let next = chunks.bind(py).clone().next().transpose()?;
                return Ok(next.map_or(Pulled::End, |chunk| Pulled::Chunk(chunk.unbind())));
            }
            Chunks::Async(stream) => stream.bind(py),
        };
        let next = stream.call_method0(intern!(py, "__anext__"))?;
        let coroutine = to_coroutine(&self.seam, &next)?.ok_or_else(|| {
            PyTypeError::new_err("`__anext__` of a response's body returned nothing to await")
        })?;
        Ok(
            match first_step(&self.seam, &coroutine, context, || {
                let named = (self.origin.clone(), self.hold.clone());
                Box::new(move |_| named)
            })? {
                First::Done(chunk) => Pulled::Chunk(chunk.unbind()),
                First::Waits(waiting) => Pulled::Waits(waiting),
            },
        )
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let Chunks::Async(stream) = &self.chunks else {
            return Ok(());
        };
        let hold = Bound::new(py, CarriedHold::new(&self.hold))?;
        let close = self.seam.tasks.bind(py).getattr(intern!(py, "spawn_close"))?;
        close.call1((
            &self.seam.asyncio_loop,
            stream,
            &self.reader,
            &self.context,
            &self.seam.closing,
            hold,
        ))?;
        self.seam.notice_work(py);
        Ok(())
    }
}

/// A step of the iterator.
enum Pulled {
    Chunk(Py<PyAny>),
    Waits(WaitingTask),
    End,
}

impl BodySource for Stream {
    fn next(&mut self) -> LocalFuture<'_, Option<Result<Vec<u8>, BodyFailed>>> {
        Box::pin(async move {
            if self.has_ended {
                return None;
            }
            match self.pull().await {
                Ok(Some(chunk)) => Some(Ok(chunk)),
                Ok(None) => {
                    self.has_ended = true;
                    None
                }
                Err(error) => {
                    self.has_ended = true;
                    Python::attach(|py| self.origin.body_raised(py, &error));
                    Some(Err(BodyFailed))
                }
            }
        })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.has_ended {
            Python::attach(|py| {
                if let Err(error) = self.close(py) {
                    self.origin.body_raised(py, &error);
                }
            });
        }
    }
}

fn required_chunk(value: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    chunk(value)?.ok_or_else(|| match value.get_type().name() {
        Ok(name) => PyTypeError::new_err(format!("a streamed body yielded a `{name}`; hint: yield bytes")),
        Err(error) => error,
    })
}
