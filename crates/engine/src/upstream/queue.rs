//! Who waits for a server of an upstream whose servers are bounded.

use std::rc::Rc;

use tokio::sync::{Notify, Semaphore, SemaphorePermit};

/// See the module.
pub(crate) struct Queue {
    turnstile: Semaphore,
    freed: Rc<Notify>,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self {
            turnstile: Semaphore::new(1),
            freed: Rc::default(),
        }
    }

    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.turnstile.available_permits() > 0
    }

    /// Waits until everybody who came earlier has a server, or has left.
    pub(crate) async fn turnstile(&self) -> SemaphorePermit<'_> {
        self.turnstile.acquire().await.expect("it is never closed")
    }

    /// Waits until this worker gives a server back.
    pub(crate) async fn freed(&self) {
        self.freed.notified().await;
    }

    /// What to tell when a server is given back.
    pub(super) fn bell(&self) -> Rc<Notify> {
        self.freed.clone()
    }
}
