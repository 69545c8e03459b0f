//! Templates as a tree: each node is what is known of a path after some of its segments.

use std::collections::HashMap;

use crate::rank::{Rank, Ranks};
use crate::template::{Remaining, Rest, Segment, Template};

#[derive(Debug, Default)]
pub(crate) struct TemplateTree {
    /// The first is the root; none if there are no templates.
    nodes: Vec<Node>,
}

/// A node of the template tree: what is known after some segments.
#[derive(Debug, Default)]
struct Node {
    literals: HashMap<Box<[u8]>, usize>,
    params: Vec<ParamEdge>,
    end: Vec<Rank>,
    rest: Vec<Rank>,
}

/// A segment with a parameter: the text around it, and the node it leads to.
#[derive(Debug)]
struct ParamEdge {
    before: Box<[u8]>,
    after: Box<[u8]>,
    next: usize,
}

impl TemplateTree {
    pub(crate) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    pub(crate) fn insert(&mut self, template: &Template, rank: Rank) {
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        let mut at = 0;
        for segment in &template.segments {
            let fresh = self.nodes.len();
            let next = self.nodes[at].child(segment, fresh);
            if next == fresh {
                self.nodes.push(Node::default());
            }
            at = next;
        }
        let node = &mut self.nodes[at];
        match template.rest {
            Rest::Nothing => node.end.push(rank),
            Rest::Any | Rest::Param => node.rest.push(rank),
        }
    }

    /// Adds the routes whose template matches `path`, in no order.
    pub(crate) fn collect(&self, path: &[u8], out: &mut Ranks) {
        if !self.nodes.is_empty() {
            self.collect_from(0, Remaining::of(path), out);
        }
    }

    /// Each node stands at one depth of the path, so a lookup visits each node at most once.
    fn collect_from(&self, at: usize, mut remaining: Remaining<'_>, out: &mut Ranks) {
        let node = &self.nodes[at];
        out.extend_from_slice(&node.rest);
        let Some(segment) = remaining.next_segment() else {
            out.extend_from_slice(&node.end);
            return;
        };
        if let Some(next) = node.literals.get(segment) {
            self.collect_from(*next, remaining, out);
        }
        for edge in node.params.iter().filter(|edge| edge.matches(segment)) {
            self.collect_from(edge.next, remaining, out);
        }
    }
}

impl ParamEdge {
    fn matches(&self, segment: &[u8]) -> bool {
        // A value has at least one byte.
        segment.len() > self.before.len() + self.after.len()
            && segment.starts_with(&self.before)
            && segment.ends_with(&self.after)
    }
}

impl Node {
    /// Where `segment` leads: a known node, or `fresh`.
    fn child(&mut self, segment: &Segment, fresh: usize) -> usize {
        match segment {
            Segment::Literal(text) => *self.literals.entry(text.as_slice().into()).or_insert(fresh),
            Segment::Param { before, after } => {
                let is_known = |edge: &&ParamEdge| *edge.before == **before && *edge.after == **after;
                if let Some(edge) = self.params.iter().find(is_known) {
                    return edge.next;
                }
                self.params.push(ParamEdge {
                    before: before.as_slice().into(),
                    after: after.as_slice().into(),
                    next: fresh,
                });
                fresh
            }
        }
    }
}
