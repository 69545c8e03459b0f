//! The loop's heartbeat: tells a watching thread whether Python code has blocked the event loop for too long.
//!
//! # How it works
//! The loop's thread counts each change between "the engine runs" (even) and "Python runs" (odd): around every hook and
//! around every turn of asyncio. A count that stays odd is Python code that does not give the loop back. Counting is two
//! stores; only the watching thread ever reads. It sleeps outside the interpreter, so that watching costs the loop nothing.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pyo3::prelude::*;

/// Longer request ids are cut when a stall is reported.
const ID_BYTES: usize = 64;

/// The length of the ids that the engine makes.
const USUAL_ID_BYTES: usize = 32;

/// The watching thread looks this often within the limit, but at least and at most so often.
const LOOKS: u32 = 4;
const SHORTEST_SLEEP: Duration = Duration::from_millis(1);
const LONGEST_SLEEP: Duration = Duration::from_millis(250);

/// Written by one thread, read by another.
#[derive(Default)]
pub(crate) struct Beat {
    count: AtomicU64,
    /// The id of the request whose hook runs, in pieces that can be stored at once.
    id: [AtomicU64; ID_BYTES / 8],
    id_bytes: AtomicU64,
    is_stopped: AtomicBool,
}

impl Beat {
    /// Python code runs from now on: a hook of the request of this id, or (empty) asyncio.
    pub(crate) fn python(&self, request_id: &str) {
        let id = &request_id.as_bytes()[..request_id.len().min(ID_BYTES)];
        match <&[u8; USUAL_ID_BYTES]>::try_from(id) {
            Ok(usual) => self.keep(usual),
            Err(_) if id.is_empty() => {}
            Err(_) => {
                let mut padded = [0; ID_BYTES];
                padded[..id.len()].copy_from_slice(id);
                self.keep(&padded);
            }
        }
        self.id_bytes.store(id.len() as u64, Relaxed);
        self.count.store((self.count.load(Relaxed) + 1) | 1, Relaxed);
    }

    /// Stores an id piece by piece; of a known length that is one store for each.
    fn keep<const N: usize>(&self, id: &[u8; N]) {
        for (piece, cell) in id.chunks_exact(8).zip(&self.id) {
            cell.store(
                u64::from_le_bytes(piece.try_into().expect("eight bytes")),
                Relaxed,
            );
        }
    }

    /// The engine runs again.
    pub(crate) fn engine(&self) {
        self.count.store((self.count.load(Relaxed) | 1) + 1, Relaxed);
    }

    fn request_id(&self) -> String {
        let mut id: Vec<u8> = self
            .id
            .iter()
            .flat_map(|cell| cell.load(Relaxed).to_le_bytes())
            .collect();
        id.truncate(usize::try_from(self.id_bytes.load(Relaxed)).unwrap_or(0));
        String::from_utf8_lossy(&id).into_owned()
    }
}

/// Python code runs until this is dropped.
pub(crate) struct InPython<'a>(&'a Beat);

impl<'a> InPython<'a> {
    pub(crate) fn new(beat: &'a Beat, request_id: &str) -> Self {
        beat.python(request_id);
        Self(beat)
    }
}

impl Drop for InPython<'_> {
    fn drop(&mut self) {
        self.0.engine();
    }
}

/// The heartbeat for the thread that watches.
#[pyclass(frozen, module = "headgate._core")]
pub(crate) struct Heartbeat(pub(crate) Arc<Beat>);

#[pymethods]
impl Heartbeat {
    /// Sleeps until Python code has blocked the event loop for `limit_ms`, and reports it once: the milliseconds so far
    /// and the id of the request whose hook it is (empty: asyncio runs). `None` after `stop`.
    #[pyo3(signature = (limit_ms, /))]
    fn wait_for_stall(&self, py: Python<'_>, limit_ms: u64) -> Option<(u64, String)> {
        py.detach(|| self.stall(Duration::from_millis(limit_ms)))
    }

    /// Makes `wait_for_stall` return.
    fn stop(&self) {
        self.0.is_stopped.store(true, Relaxed);
    }
}

impl Heartbeat {
    fn stall(&self, limit: Duration) -> Option<(u64, String)> {
        let beat = &*self.0;
        let step = (limit / LOOKS).clamp(SHORTEST_SLEEP, LONGEST_SLEEP);
        // what goes on when this is called has been told of already, or is the caller's own
        let told = beat.count.load(Relaxed);
        let (mut seen, mut since) = (told, Instant::now());
        loop {
            std::thread::sleep(step);
            if beat.is_stopped.load(Relaxed) {
                return None;
            }
            let count = beat.count.load(Relaxed);
            if count != seen {
                (seen, since) = (count, Instant::now());
            } else if count % 2 == 1 && count != told && since.elapsed() >= limit {
                let held = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
                return Some((held, beat.request_id()));
            }
        }
    }
}
