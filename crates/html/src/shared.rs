//! What a rewriter and the places where it puts something in share: the output, and how much memory is in use.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use lol_html::html_content::{ContentType, StreamingHandler, StreamingHandlerSink};
use lol_html::HandlerResult;

/// About what one text costs that waits for an end tag, in the library and here.
const WAITING_BYTES: usize = 256;

#[derive(Debug)]
pub(crate) struct Shared {
    output: Mutex<Vec<u8>>,
    waiting: AtomicUsize,
    is_exhausted: AtomicBool,
    max_bytes: usize,
}

impl Shared {
    pub(crate) fn new(max_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            output: Mutex::default(),
            waiting: AtomicUsize::new(0),
            is_exhausted: AtomicBool::new(false),
            max_bytes,
        })
    }

    pub(crate) fn write(&self, bytes: &[u8]) {
        self.output
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
    }

    pub(crate) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.output.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn is_exhausted(&self) -> bool {
        self.is_exhausted.load(Ordering::Relaxed)
    }

    /// Whether there is room in the output; if not, the page is given up.
    fn has_room(&self, bytes: usize) -> bool {
        let length = self.output.lock().unwrap_or_else(PoisonError::into_inner).len();
        let has_room = length + bytes <= self.max_bytes;
        if !has_room {
            self.is_exhausted.store(true, Ordering::Relaxed);
        }
        has_room
    }
}

/// A text that is put in when its place comes; counted while it waits.
pub(crate) struct Insertion {
    text: Arc<str>,
    kind: ContentType,
    shared: Arc<Shared>,
}

impl Insertion {
    pub(crate) fn boxed(
        shared: &Arc<Shared>,
        text: &Arc<str>,
        kind: ContentType,
    ) -> Box<dyn StreamingHandler + Send> {
        let waiting = shared.waiting.fetch_add(WAITING_BYTES, Ordering::Relaxed);
        if waiting > shared.max_bytes {
            shared.is_exhausted.store(true, Ordering::Relaxed);
        }
        Box::new(Self {
            text: Arc::clone(text),
            kind,
            shared: Arc::clone(shared),
        })
    }
}

impl StreamingHandler for Insertion {
    /// No error where there is no room: half a tag would already be written.
    fn write_all(self: Box<Self>, sink: &mut StreamingHandlerSink<'_>) -> HandlerResult {
        if self.shared.has_room(self.text.len()) {
            sink.write_str(&self.text, self.kind);
        }
        Ok(())
    }
}

impl Drop for Insertion {
    fn drop(&mut self) {
        self.shared.waiting.fetch_sub(WAITING_BYTES, Ordering::Relaxed);
    }
}
