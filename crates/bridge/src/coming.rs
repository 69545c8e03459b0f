//! The configuration that is to come into force: made ready at once, or beside the loop.
//!
//! # How it works
//! A thread of its own reads the snapshot and drafts tables, which needs neither the interpreter nor anything of the loop.
//! What is left is done by the loop, in slices between which it serves. Whatever else is made ready, applied or discarded
//! meanwhile ends that; the thread runs on, and its draft is dropped.

use std::cell::RefCell;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use headgate_engine::{Draft, Drafter, Hooks, Prepared, SnapshotError, Worker};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use crate::calls::hooks::PyHooks;
use crate::event_loop::seam::Seam;
use crate::interpreter::gil;

/// See the module.
#[derive(Default)]
pub(crate) struct Coming {
    ready: RefCell<Option<(Prepared, Rc<PyHooks>)>>,
    task: RefCell<Option<AbortHandle>>,
}

/// A snapshot's JSON in memory that another process has filled: from a position to its end.
pub(crate) struct Text {
    pub(crate) memory: OwnedFd,
    pub(crate) start: u64,
}

impl Coming {
    /// This is ready.
    pub(crate) fn set(&self, prepared: Prepared, hooks: Rc<PyHooks>) {
        self.discard();
        self.ready.replace(Some((prepared, hooks)));
    }

    /// What is ready, if anything is.
    pub(crate) fn take(&self) -> Option<(Prepared, Rc<PyHooks>)> {
        let ready = self.ready.take();
        self.discard();
        ready
    }

    /// Forgets what is ready, or being made so.
    pub(crate) fn discard(&self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
        drop(self.ready.take());
    }

    /// Makes it ready beside the loop, and then calls `done` with `None`, or with what is wrong with it; never if something
    /// else came between.
    pub(crate) fn begin(
        self: &Rc<Self>,
        seam: &Rc<Seam>,
        worker: &Worker,
        text: Text,
        hooks: Rc<PyHooks>,
        done: Py<PyAny>,
    ) -> PyResult<()> {
        self.discard();
        let drafted = draft(worker.drafter(), text)?;
        let (coming, seam_of_done, worker) = (Rc::clone(self), Rc::clone(seam), worker.clone());
        let task = seam.spawn_abortable(async move {
            let drafted = drafted.await.unwrap_or_else(|_| {
                let error = "the snapshot cannot be built\nhint: see the log of the worker";
                Err(SnapshotError(error.to_owned()))
            });
            let made = match drafted {
                Ok(draft) => {
                    worker
                        .prepare_draft(draft, Rc::clone(&hooks) as Rc<dyn Hooks>)
                        .await
                }
                Err(error) => Err(error),
            };
            coming.task.take();
            let error = match made {
                Ok(prepared) => {
                    coming.ready.replace(Some((prepared, hooks)));
                    None
                }
                Err(error) => Some(error.to_string()),
            };
            gil::held(|py| {
                if let Err(error) = done.call1(py, (error,)) {
                    error.write_unraisable(py, None);
                }
                seam_of_done.notice_work(py);
            });
        })?;
        self.task.replace(Some(task));
        Ok(())
    }
}

/// Drafts in a thread of its own.
fn draft(drafter: Drafter, text: Text) -> PyResult<oneshot::Receiver<Result<Draft, SnapshotError>>> {
    let (tell, told) = oneshot::channel();
    let work = move || {
        let json = read(text).map_err(|error| SnapshotError(format!("the snapshot cannot be read: {error}")));
        let _ = tell.send(json.and_then(|json| drafter.draft(&json)));
    };
    let thread = std::thread::Builder::new().name("headgate-draft".to_owned());
    match thread.spawn(work) {
        Ok(_) => Ok(told),
        Err(error) => Err(PyRuntimeError::new_err(format!("cannot start a thread: {error}"))),
    }
}

/// Others read the same memory: its position is not used.
fn read(text: Text) -> std::io::Result<Vec<u8>> {
    let file = File::from(text.memory);
    let size = file.metadata()?.len().saturating_sub(text.start);
    let mut json = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut json, text.start)?;
    Ok(json)
}
