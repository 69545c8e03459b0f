//! Templates as a tree: each node is what is known of a path after some of its segments.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::persistent::{PersistentList, PersistentMap};
use crate::route::Route;
use crate::slots::{insert, remove, Slot, Slots};
use crate::template::{Remaining, Rest, Segment, Template};

/// A node of the template tree: what is known after some segments. Copies share what is below them.
#[derive(Debug, Default, Clone)]
pub(crate) struct Node {
    literals: PersistentMap<Arc<Node>>,
    params: Vec<ParamEdge>,
    end: Slots,
    rest: Slots,
}

/// A segment with a parameter: the text around it, and the node it leads to.
#[derive(Debug, Clone)]
struct ParamEdge {
    before: Box<[u8]>,
    after: Box<[u8]>,
    next: Arc<Node>,
}

impl Node {
    pub(crate) fn is_empty(&self) -> bool {
        self.literals.is_empty() && self.params.is_empty() && self.end.is_empty() && self.rest.is_empty()
    }

    pub(crate) fn insert(&mut self, template: &Template, slot: Slot, routes: &PersistentList<Route>) {
        let mut node = self;
        for segment in &template.segments {
            node = Arc::make_mut(node.child(segment));
        }
        insert(node.here(template.rest), slot, routes);
    }

    pub(crate) fn remove(&mut self, template: &Template, slot: Slot) {
        self.remove_below(&template.segments, template.rest, slot);
    }

    /// Adds the routes whose template matches `path`, in no order.
    pub(crate) fn collect(&self, path: &[u8], out: &mut SmallVec<[Slot; 8]>) {
        self.collect_from(Remaining::of(path), out);
    }

    /// Each node stands at one depth of the path, so a lookup visits each node at most once.
    fn collect_from(&self, mut remaining: Remaining<'_>, out: &mut SmallVec<[Slot; 8]>) {
        out.extend_from_slice(&self.rest);
        let Some(segment) = remaining.next_segment() else {
            out.extend_from_slice(&self.end);
            return;
        };
        if let Some(next) = self.literals.get(segment) {
            next.collect_from(remaining, out);
        }
        for edge in self.params.iter().filter(|edge| edge.matches(segment)) {
            edge.next.collect_from(remaining, out);
        }
    }

    fn remove_below(&mut self, segments: &[Segment], rest: Rest, slot: Slot) {
        let Some((segment, after)) = segments.split_first() else {
            return remove(self.here(rest), slot);
        };
        let node = Arc::make_mut(self.child(segment));
        node.remove_below(after, rest, slot);
        if !node.is_empty() {
            return;
        }
        match segment {
            Segment::Literal(text) => drop(self.literals.remove(text)),
            Segment::Param { before, after } => self.params.retain(|edge| !edge.is(before, after)),
        }
    }

    fn here(&mut self, rest: Rest) -> &mut Slots {
        match rest {
            Rest::Nothing => &mut self.end,
            Rest::Any | Rest::Param => &mut self.rest,
        }
    }

    /// Where `segment` leads, made if it is not there yet.
    fn child(&mut self, segment: &Segment) -> &mut Arc<Node> {
        match segment {
            Segment::Literal(text) => self.literals.entry(text),
            Segment::Param { before, after } => {
                let known = self.params.iter().position(|edge| edge.is(before, after));
                let at = known.unwrap_or_else(|| {
                    self.params.push(ParamEdge {
                        before: before.as_slice().into(),
                        after: after.as_slice().into(),
                        next: Arc::default(),
                    });
                    self.params.len() - 1
                });
                &mut self.params[at].next
            }
        }
    }
}

impl ParamEdge {
    fn is(&self, before: &[u8], after: &[u8]) -> bool {
        *self.before == *before && *self.after == *after
    }

    fn matches(&self, segment: &[u8]) -> bool {
        // A value has at least one byte.
        segment.len() > self.before.len() + self.after.len()
            && segment.starts_with(&self.before)
            && segment.ends_with(&self.after)
    }
}
