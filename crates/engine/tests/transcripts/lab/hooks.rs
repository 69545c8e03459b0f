//! Hooks that are closures of a test.

use std::rc::Rc;

use headgate_engine::{
    BodyStep, BodyVerdict, Chunk, ChunkStep, ChunkVerdict, ConnectionState, Exchange, HookResponse,
    HookResponseBody, Hooks, MatcherFailed, Step, Verdict,
};
use headgate_wire::Head;

type Function = Box<dyn Fn(&Rc<Exchange>) -> Step>;
type BodyFunction = Box<dyn Fn(&[u8]) -> Vec<u8>>;

/// See the module.
#[derive(Default)]
pub(crate) struct Scripted {
    functions: Vec<Function>,
    body_functions: Vec<BodyFunction>,
}

impl Scripted {
    pub(super) fn add(&mut self, function: impl Fn(&Rc<Exchange>) -> Step + 'static) -> usize {
        self.functions.push(Box::new(function));
        self.functions.len() - 1
    }

    pub(super) fn add_body(&mut self, function: impl Fn(&[u8]) -> Vec<u8> + 'static) -> usize {
        self.body_functions.push(Box::new(function));
        self.body_functions.len() - 1
    }
}

impl Hooks for Scripted {
    fn call(&self, hook: usize, exchange: &Rc<Exchange>) -> Step {
        self.functions[hook](exchange)
    }

    fn connection(&self, _: usize, _: &Rc<ConnectionState>) -> Step {
        Step::Ready(Verdict::Continue)
    }

    fn chunk(&self, _: usize, _: &Rc<ConnectionState>, _: &[u8]) -> ChunkStep {
        ChunkStep::Ready(ChunkVerdict::Pass)
    }

    fn call_body(&self, hook: usize, _: &Rc<Exchange>, chunk: &Chunk, _: bool) -> BodyStep {
        let made = self.body_functions[hook](chunk.bytes());
        BodyStep::Ready(if made == chunk.bytes() {
            BodyVerdict::Keep
        } else {
            BodyVerdict::Replace(Rc::new(made))
        })
    }

    fn matches(&self, _: usize, _: &Rc<Exchange>) -> Result<bool, MatcherFailed> {
        Ok(false)
    }

    fn yield_gil(&self) {}
}

/// A hook that changes something and goes on.
pub(crate) fn edit(change: impl Fn(&Rc<Exchange>) + 'static) -> impl Fn(&Rc<Exchange>) -> Step + 'static {
    move |exchange| {
        change(exchange);
        Step::Ready(Verdict::Continue)
    }
}

/// A hook that responds itself.
pub(crate) fn reply(
    status: u16,
    fields: &[(&str, &str)],
    body: impl Fn() -> HookResponseBody + 'static,
) -> impl Fn(&Rc<Exchange>) -> Step + 'static {
    let mut head = Head::with_room();
    for (name, value) in fields {
        head.add(name.as_bytes(), value.as_bytes())
            .expect("the test's fields are fields");
    }
    move |_| {
        Step::Ready(Verdict::Respond(Box::new(HookResponse {
            status,
            head: head.clone(),
            body: body(),
        })))
    }
}
