//! A future that is polled only when it was woken itself.
//!
//! # How it works
//! tokio polls what a `LocalSet` runs until its end each time that any task of the set was woken: for a worker twice a
//! request, although what it waits for (asyncio's descriptor, timers, a wake) has seldom come. With a waker of its own the
//! future is passed over then, for the cost of two comparisons.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// See the module.
pub(crate) struct WhenWoken<'a, F> {
    future: Pin<&'a mut F>,
    woken: Arc<Woken>,
    own: Waker,
    /// Whom `woken` wakes.
    task: Option<Waker>,
}

struct Woken {
    is_woken: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl<'a, F: Future> WhenWoken<'a, F> {
    pub(crate) fn new(future: Pin<&'a mut F>) -> Self {
        let woken = Arc::new(Woken {
            // polled at first, too
            is_woken: AtomicBool::new(true),
            task: Mutex::new(None),
        });
        Self {
            future,
            own: Waker::from(Arc::clone(&woken)),
            woken,
            task: None,
        }
    }
}

impl<F: Future> Future for WhenWoken<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        if !this
            .task
            .as_ref()
            .is_some_and(|known| known.will_wake(context.waker()))
        {
            this.task = Some(context.waker().clone());
            this.woken.remember(context.waker());
        }
        // the first look costs less, and nearly always says no
        if !this.woken.is_woken.load(Ordering::Relaxed) || !this.woken.is_woken.swap(false, Ordering::AcqRel)
        {
            return Poll::Pending;
        }
        this.future.as_mut().poll(&mut Context::from_waker(&this.own))
    }
}

impl Woken {
    fn remember(&self, task: &Waker) {
        let mut known = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some(task.clone());
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Ordering::Release);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = &*task {
            task.wake_by_ref();
        }
    }
}
