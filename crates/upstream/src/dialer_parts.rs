//! What a dialer needs of its worker.

use std::rc::Rc;

use headgate_net::clock::Clock;
use headgate_net::deadline::Deadlines;
use headgate_net::peer::Buffers;
use headgate_shared::metrics::Metrics;

/// What connections need of the worker they belong to.
#[derive(Clone)]
pub struct Dialer {
    /// Its clock.
    pub clock: Rc<Clock>,
    /// Its deadlines, for connections that have a task of their own.
    pub deadlines: Rc<Deadlines>,
    /// Its buffers.
    pub buffers: Rc<Buffers>,
    /// Its counters.
    pub metrics: Rc<Metrics>,
}
