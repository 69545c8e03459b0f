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
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::conditions::Fields;
use crate::error::RouteError;
use crate::host_pattern::host_without_port;
use crate::host_table::HostTable;
use crate::normalise::normalize_path;
use crate::params::Params;
use crate::persistent::PersistentList;
use crate::rank::Listed;
use crate::route::{Miss, Route, RouteSpec};
use crate::slots::Slot;

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
    /// This route: its index, which is the position in the list given to [`Router::build`].
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
///
/// A copy shares with the original all that neither of them changes: to copy a router of 10,000 routes and to change one
/// of them costs less than a hundredth of building it.
#[derive(Debug, Default, Clone)]
pub struct Router {
    hosts: HostTable,
    routes: PersistentList<Route>,
    /// How many routes have each.
    priorities: BTreeMap<i32, usize>,
}

impl Router {
    /// Builds the tables of routes in the order listed.
    ///
    /// # Errors
    /// A route is not valid, or there are too many.
    pub fn build(specs: Vec<RouteSpec>) -> Result<Self, RouteError> {
        let mut router = Self::default();
        for (position, spec) in specs.into_iter().enumerate() {
            router.set(position, Listed::at(position), spec)?;
        }
        Ok(router)
    }

    /// Adds a route, or replaces the one that has this index.
    ///
    /// # Errors
    /// The route is not valid, or the index is too large. The router is as it was.
    pub fn set(&mut self, index: usize, listed: Listed, spec: RouteSpec) -> Result<(), RouteError> {
        let slot = Slot::try_from(index).map_err(|_| RouteError::TooMany { count: index })?;
        let route = Arc::new(Route::new(index, listed, spec)?);
        self.remove(index);
        *self.priorities.entry(route.priority).or_default() += 1;
        self.routes.set(index, Some(Arc::clone(&route)));
        for host in route.hosts() {
            self.hosts.insert(host, slot, &self.routes);
        }
        Ok(())
    }

    /// Takes the route of this index out, if there is one.
    pub fn remove(&mut self, index: usize) {
        let (Some(route), Ok(slot)) = (self.routes.get(index).cloned(), Slot::try_from(index)) else {
            return;
        };
        for host in route.hosts() {
            self.hosts.remove(host, &route, slot);
        }
        self.routes.set(index, None);
        if let Some(count) = self.priorities.get_mut(&route.priority) {
            *count -= 1;
            if *count == 0 {
                self.priorities.remove(&route.priority);
            }
        }
    }

    pub(crate) fn routes(&self) -> &PersistentList<Route> {
        &self.routes
    }

    fn has_priorities(&self) -> bool {
        self.priorities.len() > 1
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
        let _ = if self.hosts.is_any() && !self.has_priorities() {
            // most gateways have no rule about a host: it is not even looked at
            self.hosts
                .any()
                .visit(path, &self.routes, &mut |slot| search.offer(slot))
        } else {
            self.visit(candidate.host, path, &mut |slot| search.offer(slot))
        };
        let Search { found, allowed, .. } = search;
        match found {
            Some((slot, route)) => {
                if !route.names.is_empty() {
                    params.begin(&route.names);
                    route.path.capture(path, params);
                }
                Found::Route(slot as usize)
            }
            None if allowed.is_empty() => Found::None,
            None => Found::MethodNotAllowed(allow_list(&allowed)),
        }
    }

    /// Shows the routes whose host and path match, in the order of choice.
    pub(crate) fn visit(
        &self,
        host: &[u8],
        path: &[u8],
        visit: &mut dyn FnMut(Slot) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let mut lower = SmallVec::new();
        let host = normal_host(host, &mut lower);
        if !self.has_priorities() {
            return self
                .hosts
                .visit(host, &mut |table| table.visit(path, &self.routes, visit));
        }
        let mut slots = SmallVec::<[Slot; 8]>::new();
        let _ = self.hosts.visit(host, &mut |table| {
            table.visit(path, &self.routes, &mut |slot| {
                slots.push(slot);
                ControlFlow::Continue(())
            })
        });
        slots.sort_by_key(|slot| Reverse(self.routes[*slot as usize].priority));
        slots.into_iter().try_for_each(visit)
    }
}

/// A host as patterns are compared with it: without port and last dot, in lower case, for which `lower` has room.
pub(crate) fn normal_host<'h>(host: &'h [u8], lower: &'h mut SmallVec<[u8; 64]>) -> &'h [u8] {
    let host = host_without_port(host);
    let host = host.strip_suffix(b".").unwrap_or(host);
    if host.iter().any(u8::is_ascii_uppercase) {
        lower.extend(host.iter().map(u8::to_ascii_lowercase));
        lower
    } else {
        host
    }
}

/// One lookup under way.
struct Search<'r, 's> {
    router: &'r Router,
    candidate: &'s Candidate<'s>,
    fields: &'s dyn Fields,
    function: &'s mut dyn FnMut(usize) -> bool,
    /// Routes whose function said no: several hosts of a route may match, one question is enough.
    refused: SmallVec<[Slot; 4]>,
    /// Routes that only the method kept away.
    allowed: SmallVec<[&'r Route; 4]>,
    found: Option<(Slot, &'r Route)>,
}

impl Search<'_, '_> {
    /// Breaks if the route takes the request.
    fn offer(&mut self, slot: Slot) -> ControlFlow<()> {
        let route = &self.router.routes[slot as usize];
        match route.miss(self.candidate.method, self.candidate.query, self.fields) {
            Some(Miss::Header(_) | Miss::Query(_)) => return ControlFlow::Continue(()),
            Some(Miss::Method) => {
                self.allowed.push(route);
                return ControlFlow::Continue(());
            }
            None => {}
        }
        if route.function && !self.refused.contains(&slot) && !(self.function)(slot as usize) {
            self.refused.push(slot);
        }
        if self.refused.contains(&slot) {
            return ControlFlow::Continue(());
        }
        self.found = Some((slot, route));
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
