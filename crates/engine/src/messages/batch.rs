//! A message on its way through the hooks. One may become several, or none.
//!
//! # How it works
//! Each hook gets what the hooks before it left, one message at a time. Hooks run in listed order on what the client sent,
//! in reverse on what the server sent: what is listed first is outermost.

use std::collections::VecDeque;
use std::mem;
use std::rc::Rc;
use std::task::{ready, Context, Poll};

use crate::hooks::configuration::Configuration;
use crate::hooks::exchange::Exchange;
use crate::hooks::message::{Message, Party};
use crate::hooks::{LocalFuture, MessageStep, MessageVerdict};

/// See the module.
pub(super) struct Batch {
    from: Party,
    /// For the hook that is called now.
    todo: VecDeque<Message>,
    /// What that hook has left.
    left: VecDeque<Message>,
    /// How many hooks are done.
    hooks_done: usize,
    began_us: u64,
    waiting: Option<(LocalFuture<'static, MessageVerdict>, Message)>,
}

/// A hook failed, closed.
pub(super) struct HookFailed;

impl Batch {
    pub(super) fn new(from: Party, message: Message, began_us: u64) -> Self {
        Self {
            from,
            began_us,
            todo: VecDeque::from([message]),
            left: VecDeque::new(),
            hooks_done: 0,
            waiting: None,
        }
    }

    /// Asks the hooks; ready with what they leave.
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
        exchange: &Rc<Exchange>,
        tables: &Configuration,
        hooks: &[usize],
    ) -> Poll<Result<VecDeque<Message>, HookFailed>> {
        loop {
            if let Some((future, _)) = &mut self.waiting {
                let verdict = ready!(future.as_mut().poll(context));
                let message = self.waiting.take().expect("it was polled just now").1;
                self.keep(verdict, message)?;
                continue;
            }
            let Some(message) = self.todo.pop_front() else {
                self.hooks_done += 1;
                self.todo = mem::take(&mut self.left);
                if self.hooks_done >= hooks.len() || self.todo.is_empty() {
                    exchange.timings.add_hook(exchange.now_us() - self.began_us);
                    return Poll::Ready(Ok(mem::take(&mut self.todo)));
                }
                continue;
            };
            let hook = if self.from == Party::Client {
                hooks[self.hooks_done]
            } else {
                hooks[hooks.len() - 1 - self.hooks_done]
            };
            match tables.hooks.message(hook, exchange, &message, self.from) {
                MessageStep::Ready(verdict) => self.keep(verdict, message)?,
                MessageStep::Pending(future) => self.waiting = Some((future, message)),
            }
        }
    }

    fn keep(&mut self, verdict: MessageVerdict, message: Message) -> Result<(), HookFailed> {
        match verdict {
            MessageVerdict::Pass => self.left.push_back(message),
            MessageVerdict::Replace(messages) => self.left.extend(messages),
            MessageVerdict::Failed => return Err(HookFailed),
        }
        Ok(())
    }
}
