//! Why a request takes a route, and why not the others: the search of [`Router::find_normal`], told route by route.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use smallvec::SmallVec;

use crate::conditions::Fields;
use crate::host_table::HostTable;
use crate::route::{Miss, Route};
use crate::router::{normal_host, Candidate, Router};
use crate::slots::Slot;

/// Whether a route takes a request, or the first reason for which it does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It takes the request.
    Takes,
    /// All of it matches, but the route that takes the request comes first in the order of choice.
    ComesLater,
    /// None of its hosts matches.
    Host,
    /// Its path does not match.
    Path,
    /// The condition on this header field does not hold.
    Header(String),
    /// The condition on this query parameter does not hold.
    Query(String),
    /// Only these methods are allowed.
    Method(Vec<String>),
    /// Its function said no.
    Function,
}

impl Router {
    /// The verdict on each route by its index: those whose host and path match first, in the order of choice, then the
    /// others, by index. The path is in normal form; `function` is asked as in [`Router::find`], and at most once a
    /// route.
    pub fn explain(
        &self,
        candidate: &Candidate<'_>,
        fields: &dyn Fields,
        function: &mut dyn FnMut(usize) -> bool,
    ) -> Vec<(usize, Verdict)> {
        let mut verdicts = Vec::new();
        let mut seen = BTreeSet::new();
        let mut is_taken = false;
        let _ = self.visit(candidate.host, candidate.path, &mut |slot| {
            if seen.insert(slot) {
                let verdict = self.verdict(slot, candidate, fields, function, is_taken);
                is_taken |= verdict == Verdict::Takes;
                verdicts.push((slot as usize, verdict));
            }
            ControlFlow::Continue(())
        });
        let mut lower = SmallVec::new();
        let host = normal_host(candidate.host, &mut lower);
        for (index, route) in self.routes().iter() {
            let is_new = Slot::try_from(index).is_ok_and(|slot| !seen.contains(&slot));
            if is_new {
                let has_host = self.has_host(index, route, host);
                verdicts.push((index, if has_host { Verdict::Path } else { Verdict::Host }));
            }
        }
        verdicts
    }

    fn verdict(
        &self,
        slot: Slot,
        candidate: &Candidate<'_>,
        fields: &dyn Fields,
        function: &mut dyn FnMut(usize) -> bool,
        is_taken: bool,
    ) -> Verdict {
        let route = &self.routes()[slot as usize];
        match route.miss(candidate.method, candidate.query, fields) {
            Some(Miss::Header(name)) => Verdict::Header(name.to_owned()),
            Some(Miss::Query(name)) => Verdict::Query(name.to_owned()),
            Some(Miss::Method) => Verdict::Method(route.methods.clone()),
            None if is_taken => Verdict::ComesLater,
            None if route.function && !function(slot as usize) => Verdict::Function,
            None => Verdict::Takes,
        }
    }

    /// Whether a table of this route's hosts alone has a pattern for `host`.
    fn has_host(&self, index: usize, route: &Route, host: &[u8]) -> bool {
        let Ok(slot) = Slot::try_from(index) else {
            return false;
        };
        let mut table = HostTable::default();
        for pattern in route.hosts() {
            table.insert(pattern, slot, self.routes());
        }
        let mut visit = |paths: &crate::path_table::PathTable| {
            if paths.is_empty() {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        };
        table.visit(host, &mut visit).is_break()
    }
}
