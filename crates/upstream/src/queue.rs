//! Who waits for a server of an upstream whose servers are bounded.

use std::rc::Rc;

use tokio::sync::{Notify, Semaphore, SemaphorePermit};

/// See the module.
pub struct Queue {
    turnstile: Semaphore,
    freed: Rc<Notify>,
}

impl Queue {
    /// Nobody waits.
    #[allow(
        clippy::new_without_default,
        reason = "there is one for each upstream, made on purpose"
    )]
    #[inline]
    pub fn new() -> Self {
        Self {
            turnstile: Semaphore::new(1),
            freed: Rc::default(),
        }
    }

    /// Whether there are no waiters.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.turnstile.available_permits() > 0
    }

    /// Waits until everybody who came earlier has a server, or has left.
    pub async fn turnstile(&self) -> SemaphorePermit<'_> {
        self.turnstile.acquire().await.expect("it is never closed")
    }

    /// Waits until this worker gives a server back.
    pub async fn freed(&self) {
        self.freed.notified().await;
    }

    /// What to notify when a server is given back.
    #[inline]
    pub fn signal(&self) -> Rc<Notify> {
        self.freed.clone()
    }
}
