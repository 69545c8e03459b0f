//! The stages that a body flows through: hooks, and the decoders and encoders around those that want text.
//!
//! # How it works
//! The last stage is polled for a piece and polls the one before it, down to the [`Input`]. So a stage holds at most the
//! piece it works on; one whose hook wants the body whole holds that, in a [`Spool`]. A hook that waits leaves its future
//! in its stage, and the next poll goes on there.

use std::io;
use std::rc::Rc;
use std::task::{ready, Context, Poll};

use headgate_coding::{Coding, CodingBroken};

use super::coding::{Decoding, Encoding};
use super::piece::{Chunk, Flow, On};
use crate::hooks::exchange::Exchange;
use crate::hooks::spool::Spool;
use crate::hooks::{BodyStep, BodyVerdict, HookResponse, Hooks};
use crate::snapshot::{BodyHook, BodyMode};
use headgate_net::clock::Clock;
use headgate_shared::metrics::{Counter, Metrics};

/// Where the pieces come from.
pub(crate) trait Input {
    /// What can go wrong with it.
    type Error;

    /// The next piece.
    fn poll_flow(&mut self, context: &mut Context<'_>, on: &mut On) -> Poll<Result<Flow, Self::Error>>;

    /// Whether very much is still to come, for certain.
    fn is_long(&self) -> bool {
        false
    }
}

/// A piece, or (boxed, so that pieces are cheap to hand on) why there is none.
pub(crate) type Flowed<E> = Result<Flow, Box<ChainBroken<E>>>;

/// Why a body cannot go on.
pub(crate) enum ChainBroken<E> {
    /// Its source broke.
    Input(E),
    /// A hook failed, and fails closed. Already logged.
    Hook,
    /// A hook responds instead.
    Replied(Box<HookResponse>),
    /// It is larger than a hook takes it whole.
    TooLarge,
    /// It is not what its Content-Encoding says, or that names an unknown coding.
    Coding,
    /// The temporary file failed.
    Spool(io::Error),
}

/// What all stages of a chain need.
pub(crate) struct ChainContext {
    pub(crate) exchange: Rc<Exchange>,
    pub(crate) hooks: Rc<dyn Hooks>,
    pub(crate) clock: Rc<Clock>,
    pub(crate) metrics: Rc<Metrics>,
}

/// See the module.
pub(crate) struct Chain {
    common: ChainContext,
    stages: Vec<Stage>,
    has_changed: bool,
}

enum Stage {
    Hook(HookStage),
    Decode(Decoding),
    Encode(Encoding),
}

struct HookStage {
    hook: usize,
    /// What a hook that wants it whole gets.
    whole: Option<Whole>,
    called: Option<(BodyStep, Flow)>,
}

struct Whole {
    max_bytes: u64,
    spool: Spool,
    /// How far the spool has been given on, once the hook has left the body as it was.
    given: Option<u64>,
}

impl Chain {
    /// `coding` is how the body arrives; `codes_again`, that it shall leave so too.
    pub(crate) fn new(
        common: ChainContext,
        hooks: &[BodyHook],
        coding: Option<Coding>,
        codes_again: bool,
    ) -> Self {
        let memory = common.exchange.tables.borrow().limits.buffered_memory_bytes;
        let mut stages = Vec::with_capacity(hooks.len());
        let mut has_changed = false;
        let mut is_text = false;
        for hook in hooks {
            if let Some(coding) = coding.filter(|_| hook.decode != is_text && (hook.decode || codes_again)) {
                has_changed = true;
                is_text = hook.decode;
                stages.push(if hook.decode {
                    Stage::Decode(Decoding::new(coding))
                } else {
                    Stage::Encode(Encoding::new(coding))
                });
            }
            stages.push(Stage::Hook(HookStage {
                hook: hook.hook,
                whole: (hook.mode == BodyMode::Buffer).then(|| Whole {
                    max_bytes: hook.limit,
                    spool: Spool::new(memory),
                    given: None,
                }),
                called: None,
            }));
        }
        if let Some(coding) = coding.filter(|_| is_text && codes_again) {
            stages.push(Stage::Encode(Encoding::new(coding)));
        }
        Self {
            common,
            stages,
            has_changed,
        }
    }

    /// Whether nothing comes out before all has gone in.
    pub(crate) fn holds_back(&self) -> bool {
        self.stages
            .iter()
            .any(|stage| matches!(stage, Stage::Hook(hook) if hook.whole.is_some()))
    }

    /// Whether each piece goes by on its own, and as it came unless a hook changes it.
    pub(crate) fn is_of_streams(&self) -> bool {
        self.stages
            .iter()
            .all(|stage| matches!(stage, Stage::Hook(hook) if hook.whole.is_none()))
    }

    /// Whether what came out is not what went in, so far.
    pub(crate) fn has_changed(&self) -> bool {
        self.has_changed
    }

    /// Whose body it is.
    pub(crate) fn exchange(&self) -> &Exchange {
        &self.common.exchange
    }

    /// Whether any hook is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }

    /// The piece that comes out next.
    pub(crate) fn poll_flow<I: Input>(
        &mut self,
        context: &mut Context<'_>,
        input: &mut I,
        on: &mut On,
    ) -> Poll<Flowed<I::Error>> {
        poll_stages(
            &mut self.stages,
            &self.common,
            &mut self.has_changed,
            context,
            input,
            on,
        )
    }
}

fn poll_stages<I: Input>(
    stages: &mut [Stage],
    common: &ChainContext,
    has_changed: &mut bool,
    context: &mut Context<'_>,
    input: &mut I,
    on: &mut On,
) -> Poll<Flowed<I::Error>> {
    let Some((stage, before)) = stages.split_last_mut() else {
        return input
            .poll_flow(context, on)
            .map_err(|error| Box::new(ChainBroken::Input(error)));
    };
    loop {
        let given = match stage {
            Stage::Hook(hook) => hook.poll_given(common, has_changed, context, on),
            Stage::Decode(decoding) => Poll::Ready(decoding.take().map_err(Into::into)),
            Stage::Encode(encoding) => Poll::Ready(encoding.take().map_err(Into::into)),
        };
        match ready!(given) {
            Ok(Some(flow)) if flow.data.is_some() || flow.is_last => return Poll::Ready(Ok(flow)),
            Ok(Some(_)) => continue,
            Ok(None) => {}
            Err(broken) => return Poll::Ready(Err(Box::new(broken.with_input()))),
        }
        let flow = match ready!(poll_stages(before, common, has_changed, context, input, on)) {
            Ok(flow) => flow,
            Err(broken) => return Poll::Ready(Err(broken)),
        };
        match stage {
            Stage::Hook(hook) => {
                if let Err(broken) = hook.give(flow, common) {
                    return Poll::Ready(Err(Box::new(broken.with_input())));
                }
            }
            Stage::Decode(decoding) => decoding.give(flow),
            Stage::Encode(encoding) => encoding.give(flow),
        }
    }
}

/// As [`ChainBroken`], less what only the input can do.
enum StageBroken {
    Hook,
    Replied(Box<HookResponse>),
    TooLarge,
    Coding,
    Spool(io::Error),
}

type StageResult<T> = Result<T, Box<StageBroken>>;

impl StageBroken {
    #[cold]
    fn with_input<E>(self) -> ChainBroken<E> {
        match self {
            Self::Hook => ChainBroken::Hook,
            Self::Replied(response) => ChainBroken::Replied(response),
            Self::TooLarge => ChainBroken::TooLarge,
            Self::Coding => ChainBroken::Coding,
            Self::Spool(error) => ChainBroken::Spool(error),
        }
    }
}

impl From<CodingBroken> for Box<StageBroken> {
    fn from(_: CodingBroken) -> Self {
        Self::new(StageBroken::Coding)
    }
}

impl From<io::Error> for Box<StageBroken> {
    fn from(error: io::Error) -> Self {
        Self::new(StageBroken::Spool(error))
    }
}

impl HookStage {
    /// What the stage has to give; `None`: it wants more.
    fn poll_given(
        &mut self,
        common: &ChainContext,
        has_changed: &mut bool,
        context: &mut Context<'_>,
        on: &mut On,
    ) -> Poll<StageResult<Option<Flow>>> {
        if let Some(flow) = self.whole.as_mut().and_then(Whole::next) {
            return Poll::Ready(flow.map(Some).map_err(Into::into));
        }
        let Some((step, _)) = &mut self.called else {
            return Poll::Ready(Ok(None));
        };
        if let BodyStep::Pending(future) = step {
            *on = On::Hook;
            let began = common.clock.tick();
            let polled = future.as_mut().poll(context);
            common.exchange.timings.add_hook(common.clock.tick() - began);
            *step = BodyStep::Ready(ready!(polled));
        }
        match self.called.take() {
            Some((BodyStep::Ready(verdict), flow)) => {
                Poll::Ready(self.settle(verdict, flow, has_changed).map(Some))
            }
            _ => Poll::Ready(Ok(None)),
        }
    }

    /// Takes a piece in and calls the hook with it, or keeps it for the call with the whole.
    fn give(&mut self, flow: Flow, common: &ChainContext) -> StageResult<()> {
        let is_last = flow.is_last;
        let mut piped = None;
        let chunk = match &mut self.whole {
            None => {
                piped = flow.piped;
                flow.data
            }
            Some(whole) => {
                whole.keep(&flow, common)?;
                if !is_last {
                    return Ok(());
                }
                Some(whole.bytes(&*common.hooks)?)
            }
        };
        let chunk = chunk.unwrap_or_else(|| common.hooks.piece(&[]));
        let began = common.clock.tick();
        let step = common
            .hooks
            .call_body(self.hook, &common.exchange, &chunk, is_last);
        // the call has read the clock at its end
        common.exchange.timings.add_hook(common.clock.now_us() - began);
        let flow = Flow {
            piped,
            ..Flow::of(chunk, is_last)
        };
        self.called = Some((step, flow));
        Ok(())
    }

    fn settle(&mut self, verdict: BodyVerdict, flow: Flow, has_changed: &mut bool) -> StageResult<Flow> {
        match verdict {
            BodyVerdict::Keep => match &mut self.whole {
                // from the file piece by piece, so that a client that reads slowly does not hold it in memory
                Some(whole) if whole.spool.is_spilled() => {
                    whole.given = Some(0);
                    Ok(Flow::default())
                }
                _ => Ok(self.known(flow)),
            },
            // an async hook that returns what it got
            BodyVerdict::Replace(chunk) if std::ptr::eq(chunk.bytes(), flow.bytes()) => {
                self.settle(BodyVerdict::Keep, flow, has_changed)
            }
            BodyVerdict::Replace(chunk) => {
                *has_changed = true;
                Ok(self.known(Flow::of(chunk, flow.is_last)))
            }
            BodyVerdict::Respond(response) => Err(Box::new(StageBroken::Replied(response))),
            BodyVerdict::Failed => Err(Box::new(StageBroken::Hook)),
        }
    }

    /// What comes of a whole body is as long as it is.
    fn known(&self, mut flow: Flow) -> Flow {
        if self.whole.is_some() {
            flow.rest = Some(flow.len() as u64);
        }
        flow
    }
}

impl Whole {
    fn keep(&mut self, flow: &Flow, common: &ChainContext) -> StageResult<()> {
        if self.spool.len() + flow.len() as u64 > self.max_bytes {
            common.exchange.limit.set("limits.max_buffered_body_bytes");
            common.metrics.count(Counter::LimitBufferedBody);
            return Err(Box::new(StageBroken::TooLarge));
        }
        if let Some(data) = &flow.data {
            if self.spool.write(data.bytes())? {
                common.metrics.count(Counter::BodiesSpilled);
            }
        }
        Ok(())
    }

    fn bytes(&mut self, hooks: &dyn Hooks) -> StageResult<Chunk> {
        if let Some(whole) = self.spool.take_memory() {
            return Ok(hooks.piece(&whole));
        }
        let whole = self.spool.whole()?;
        Ok(hooks.piece(&whole))
    }

    fn next(&mut self) -> Option<io::Result<Flow>> {
        let at = self.given?;
        if at == self.spool.len() {
            return None;
        }
        Some(self.spool.piece(at).map(|piece| {
            let left = self.spool.len() - at;
            let after = at + piece.len() as u64;
            self.given = Some(after);
            Flow {
                data: Some(Rc::new(piece)),
                is_last: after == self.spool.len(),
                rest: Some(left),
                piped: None,
            }
        }))
    }
}
