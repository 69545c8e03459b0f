//! The router: from a request to the route that takes it.
//!
//! # The order of choice
//!
//! Of all routes whose host, path and conditions match, the first by these rules takes the request; a later rule speaks
//! only where all earlier ones are even:
//!
//! 1. **Priority**: the higher number. All routes have 0 unless they say otherwise.
//! 2. **Host**, by the most specific of the route's patterns that matches: an exact name; then the longest `*.suffix`;
//!    then the longest `prefix.*`; then regexes, in the order in which they are first listed; then any host (`*`, or none
//!    given).
//! 3. **Path**: an exact path; then prefixes and templates, the one with more literal characters first (`/api/*` has 5,
//!    `/api/{version}/*` has 6), a template of the whole path before one with a rest if these are equal; then regexes, in
//!    the order listed; then any path (`/`).
//! 4. **Conditions** (not between regex paths, which go strictly in the order listed): the route with more of them. The
//!    list of methods counts as one, the function as one, each header and each query parameter as one.
//! 5. **The order listed**.
//!
//! A route whose conditions fail is passed over and the next one is tried, also one with a less specific host or path:
//! unlike nginx, the choice of a host is not final. A function is asked last, only if everything else about its route
//! matches, and at most once a request. `GET` in a list of methods allows `HEAD` too. If no route takes the request but
//! one would have with another method, the result is [`Found::MethodNotAllowed`].
//!
//! Against nginx's `location`: `=/x` is the same; `/x/*` is like `^~ /x/`, before regexes, not after them; `/` is last.

use std::cmp::Reverse;
use std::ops::ControlFlow;

use smallvec::SmallVec;

use crate::conditions::Fields;
use crate::error::RouteError;
use crate::host_pattern::host_without_port;
use crate::host_table::HostTable;
use crate::normalise::normalize_path;
use crate::params::Params;
use crate::rank::{Rank, Ranks};
use crate::route::{Route, RouteSpec};

/// The parts of a request that routes look at.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Host, with or without its port, any case.
    pub host: &'a [u8],
    /// Path as received or normalised, without query.
    pub path: &'a [u8],
    /// Query without `?`; empty if there is none.
    pub query: &'a [u8],
    /// Method.
    pub method: &'a [u8],
}

/// What the router found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// This route: its index in the list given to [`Router::build`].
    Route(usize),
    /// Respond with 405; these methods are for `Allow` (RFC 9110, section 15.5.6), sorted.
    MethodNotAllowed(Vec<String>),
    /// Respond with 404.
    None,
}

/// Routes, ready for lookup.
///
/// A lookup costs a few hash lookups and a binary search, whatever the number of hosts, exact paths, prefixes and
/// templates; regexes (hosts or paths) are tried one by one. It allocates only for a path that is not in normal form,
/// for the values of parameters, and for a 405.
#[derive(Debug, Default)]
pub struct Router {
    hosts: HostTable,
    /// By rank.
    routes: Vec<Route>,
    has_priorities: bool,
}

impl Router {
    /// Builds the tables.
    pub fn build(specs: Vec<RouteSpec>) -> Result<Self, RouteError> {
        let count = specs.len();
        if Rank::try_from(count).is_err() {
            return Err(RouteError::TooMany { count });
        }
        let mut router = Self::default();
        // Tables first, in the order listed: it is the order of host regexes.
        for host in specs.iter().flat_map(RouteSpec::hosts) {
            router.hosts.table_mut(host);
        }
        let mut listed: Vec<(usize, RouteSpec)> = specs.into_iter().enumerate().collect();
        listed.sort_by_cached_key(|(index, spec)| spec.specificity(*index));
        router.has_priorities = listed
            .windows(2)
            .any(|pair| pair[0].1.priority != pair[1].1.priority);
        for (rank, (index, spec)) in (0..).zip(listed) {
            for host in spec.hosts() {
                router.hosts.table_mut(host).insert(&spec.path, rank);
            }
            router.routes.push(Route::new(index, spec)?);
        }
        router.hosts.finish();
        Ok(router)
    }

    /// Chooses the route of a request, and fills `params` with its path parameters (cleared otherwise).
    ///
    /// `function` is asked with a route's index, for routes with `function: true`. A path that [`normalize_path`] refuses
    /// matches nothing: the caller responds with 400 to it beforehand.
    pub fn find(
        &self,
        candidate: &Candidate<'_>,
        fields: &dyn Fields,
        params: &mut Params,
        function: &mut dyn FnMut(usize) -> bool,
    ) -> Found {
        let Ok(path) = normalize_path(candidate.path) else {
            params.clear();
            return Found::None;
        };
        let path = &path;
        self.find_normal(&Candidate { path, ..*candidate }, fields, params, function)
    }

    /// As [`Router::find`], for a path that is in normal form already.
    pub fn find_normal(
        &self,
        candidate: &Candidate<'_>,
        fields: &dyn Fields,
        params: &mut Params,
        function: &mut dyn FnMut(usize) -> bool,
    ) -> Found {
        params.clear();
        let path = candidate.path;
        let mut search = Search {
            router: self,
            candidate,
            fields,
            function,
            refused: SmallVec::new(),
            allowed: SmallVec::new(),
            found: None,
        };
        let _ = if self.hosts.is_any() && !self.has_priorities {
            // most gateways have no rule about a host: it is not even looked at
            self.hosts.any().visit(path, &mut |rank| search.offer(rank))
        } else {
            self.visit(candidate.host, path, &mut |rank| search.offer(rank))
        };
        let Search { found, allowed, .. } = search;
        match found {
            Some(route) => {
                if !route.names.is_empty() {
                    params.begin(&route.names);
                    route.path.capture(path, params);
                }
                Found::Route(route.index)
            }
            None if allowed.is_empty() => Found::None,
            None => Found::MethodNotAllowed(allow_list(&allowed)),
        }
    }

    /// Shows the routes whose host and path match, in the order of choice.
    fn visit(
        &self,
        host: &[u8],
        path: &[u8],
        visit: &mut dyn FnMut(Rank) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let host = host_without_port(host);
        let host = host.strip_suffix(b".").unwrap_or(host);
        let mut lower = SmallVec::<[u8; 64]>::new();
        let host = if host.iter().any(u8::is_ascii_uppercase) {
            lower.extend(host.iter().map(u8::to_ascii_lowercase));
            &lower
        } else {
            host
        };
        if !self.has_priorities {
            return self.hosts.visit(host, &mut |table| table.visit(path, visit));
        }
        let mut ranks = Ranks::new();
        let _ = self.hosts.visit(host, &mut |table| {
            table.visit(path, &mut |rank| {
                ranks.push(rank);
                ControlFlow::Continue(())
            })
        });
        ranks.sort_by_key(|rank| Reverse(self.routes[*rank as usize].priority));
        ranks.into_iter().try_for_each(visit)
    }
}

/// One lookup under way.
struct Search<'r, 's> {
    router: &'r Router,
    candidate: &'s Candidate<'s>,
    fields: &'s dyn Fields,
    function: &'s mut dyn FnMut(usize) -> bool,
    /// Routes whose function said no: several hosts of a route may match, one question is enough.
    refused: SmallVec<[Rank; 4]>,
    /// Routes that only the method kept away.
    allowed: SmallVec<[&'r Route; 4]>,
    found: Option<&'r Route>,
}

impl Search<'_, '_> {
    /// Breaks if the route takes the request.
    fn offer(&mut self, rank: Rank) -> ControlFlow<()> {
        let route = &self.router.routes[rank as usize];
        let has_fields = route
            .headers
            .iter()
            .all(|field| field.matches_header(self.fields))
            && route
                .queries
                .iter()
                .all(|field| field.matches_query(self.candidate.query));
        if !has_fields {
            return ControlFlow::Continue(());
        }
        if !route.allows(self.candidate.method) {
            self.allowed.push(route);
            return ControlFlow::Continue(());
        }
        if route.function && !self.refused.contains(&rank) && !(self.function)(route.index) {
            self.refused.push(rank);
        }
        if self.refused.contains(&rank) {
            return ControlFlow::Continue(());
        }
        self.found = Some(route);
        ControlFlow::Break(())
    }
}

fn allow_list(routes: &[&Route]) -> Vec<String> {
    let mut methods: Vec<String> = routes.iter().flat_map(|route| route.methods.clone()).collect();
    if methods.iter().any(|method| method == "GET") {
        methods.push("HEAD".to_owned());
    }
    methods.sort();
    methods.dedup();
    methods
}

#[cfg(test)]
#[path = "tests/router.rs"]
mod tests;
