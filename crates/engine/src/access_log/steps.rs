//! The steps of a request, each with its begin: what its timeline is drawn from.
//!
//! # How it works
//! A usual request has one or two, which are kept in place. Those of further attempts are kept in a list.

use std::cell::{Cell, RefCell};

/// What the gateway did or waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepKind {
    /// The connection of the request, whose first one it is: from its acceptance until it was ready for HTTP (a PROXY header,
    /// `connect` hooks, the TLS handshake).
    Accept,
    /// The rest of the request's head, where its first part came alone.
    Read,
    /// A place on a server.
    Queue,
    /// A connection to a server, with its TLS handshake.
    Connect,
    /// From sending the request to the head of the server's response.
    Head,
    /// From the head that the client is sent to the last byte.
    Body,
}

impl StepKind {
    /// As logs call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Read => "read",
            Self::Queue => "queue",
            Self::Connect => "connect",
            Self::Head => "head",
            Self::Body => "body",
        }
    }
}

/// One step. Times are microseconds on the worker's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// What it was.
    pub kind: StepKind,
    /// The number of the attempt that it was for; 0 if it was for none.
    pub attempt: u32,
    /// When it began.
    pub began_us: u64,
    /// How long it took.
    pub us: u64,
}

const IN_PLACE: usize = 2;

/// All steps of one request, in the order in which they ended.
#[derive(Debug, Default)]
pub struct Steps {
    first: [Cell<Option<Step>>; IN_PLACE],
    rest: RefCell<Vec<Step>>,
}

impl Steps {
    /// Adds one.
    #[inline]
    pub fn add(&self, step: Step) {
        match self.first.iter().find(|place| place.get().is_none()) {
            Some(place) => place.set(Some(step)),
            None => self.rest.borrow_mut().push(step),
        }
    }

    /// Shows each.
    pub fn for_each(&self, mut show: impl FnMut(&Step)) {
        for step in self.first.iter().filter_map(Cell::get) {
            show(&step);
        }
        self.rest.borrow().iter().for_each(show);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_kept_in_their_order() {
        let steps = Steps::default();
        let added: Vec<Step> = (0..5)
            .map(|number| Step {
                kind: StepKind::Head,
                attempt: number,
                began_us: number.into(),
                us: 1,
            })
            .collect();
        for step in &added {
            steps.add(*step);
        }
        let mut shown = Vec::new();
        steps.for_each(|step| shown.push(*step));
        assert_eq!(shown, added);
    }
}
