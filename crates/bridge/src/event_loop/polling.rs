//! What a poll waits for: the worker's tasks run until asyncio has something to do.

use std::cell::{Cell, RefCell};
use std::future::{pending, ready};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use rustix::event::{PollFd, PollFlags, Timespec};
use tokio::io::unix::AsyncFd;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;

use crate::event_loop::seam::Seam;
use crate::interpreter::gil::{self, ParkedGil};

thread_local! {
    /// What a signal handler of Python raised while the loop slept.
    static SIGNALLED: RefCell<Option<PyErr>> = const { RefCell::new(None) };
}

/// A poll that runs: there is one at a time.
pub(crate) struct Once<'a>(&'a Cell<bool>);

impl<'a> Once<'a> {
    /// Refused while another one runs.
    pub(crate) fn begin(is_polling: &'a Cell<bool>) -> PyResult<Self> {
        if is_polling.replace(true) {
            return Err(PyRuntimeError::new_err(
                "the event loop is already running; hint: a hook must not run the loop",
            ));
        }
        Ok(Self(is_polling))
    }
}

impl Drop for Once<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

/// The runtime of a loop, which lets go of the interpreter while it sleeps.
pub(crate) fn runtime(wake: &Arc<Notify>, gil: &Arc<ParkedGil>) -> io::Result<Runtime> {
    let (signalled, parked, unparked) = (Arc::clone(wake), Arc::clone(gil), Arc::clone(gil));
    Builder::new_current_thread()
        .enable_all()
        .on_thread_park(move || parked.park())
        .on_thread_unpark(move || {
            unparked.unpark();
            handle_signals(&signalled);
        })
        .build()
}

/// Lets the worker's tasks run until asyncio has work; says whether its descriptor has events.
pub(crate) async fn serve(seam: &Seam, asyncio_fd: Option<&AsyncFd<OwnedFd>>, timeout: Option<f64>) -> bool {
    if timeout.is_some_and(|timeout| timeout <= 0.0) {
        tokio::task::yield_now().await;
        return tokio::select! {
            biased;
            () = asyncio_has_events(asyncio_fd) => true,
            () = ready(()) => false,
        };
    }
    loop {
        tokio::select! {
            biased;
            () = asyncio_has_events(asyncio_fd) => return true,
            () = seam.wake.notified() => return false,
            () = sleep(seam.time_left()) => return false,
            () = seam.hurry.notified() => {} // sleep less
        }
    }
}

/// Waits until asyncio's epoll has events to give.
///
/// tokio tells of an edge, asyncio's descriptors are level-triggered: what asyncio left unread makes no new edge. So the
/// readiness is kept until the descriptor itself denies it.
async fn asyncio_has_events(fd: Option<&AsyncFd<OwnedFd>>) {
    let Some(fd) = fd else { return pending().await };
    loop {
        let Ok(mut guard) = fd.readable().await else {
            return pending().await;
        };
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let count = rustix::event::poll(&mut [PollFd::new(fd.get_ref(), PollFlags::IN)], Some(&now));
        if count.is_ok_and(|count| count > 0) {
            return guard.retain_ready();
        }
        guard.clear_ready();
    }
}

async fn sleep(seconds: Option<f64>) {
    match seconds.map(|seconds| Duration::try_from_secs_f64(seconds.max(0.0))) {
        Some(Ok(duration)) => tokio::time::sleep(duration).await,
        // `None`, or longer than anybody lives
        _ => pending().await,
    }
}

/// Runs Python's signal handlers after a sleep, which a signal may have ended (as PEP 475 does).
fn handle_signals(wake: &Notify) {
    gil::held(|py| {
        if let Err(error) = py.check_signals() {
            SIGNALLED.set(Some(error));
            wake.notify_one();
        }
    });
}

/// What a signal handler of Python raised while the loop slept; told once.
pub(crate) fn signalled() -> Option<PyErr> {
    SIGNALLED.take()
}
