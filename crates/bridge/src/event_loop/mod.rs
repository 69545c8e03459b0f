//! tokio and asyncio as one loop: steps of coroutines, what they wait for, what blocks the event loop.

pub(crate) mod body_source;
pub(crate) mod first_step;
pub(crate) mod heartbeat;
pub(crate) mod hook_task;
pub(crate) mod link;
pub(crate) mod pending;
pub(crate) mod polling;
pub(crate) mod report;
pub(crate) mod seam;
pub(crate) mod stepping;
pub(crate) mod waiting;
pub(crate) mod when_woken;
