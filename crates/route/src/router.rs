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
//! one would have with another method, the answer is [`Found::MethodNotAllowed`].
//!
//! Against nginx's `location`: `=/x` is the same; `/x/*` is like `^~ /x/`, before regexes, not after them; `/` is last.

use std::cmp::Reverse;
use std::ops::ControlFlow;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::conditions::{FieldMatch, Fields};
use crate::error::RouteError;
use crate::host_pattern::HostPattern;
use crate::host_table::HostTable;
use crate::normalise::normalize_path;
use crate::params::Params;
use crate::path_pattern::PathPattern;
use crate::path_table::{Rank, Ranks};

/// What a route asks of a request.
#[derive(Debug, Clone)]
pub struct RouteSpec {
    /// Hosts, one of which must match; empty for all.
    pub hosts: Vec<HostPattern>,
    /// The path.
    pub path: PathPattern,
    /// Methods allowed; empty for all. Made upper case.
    pub methods: Vec<String>,
    /// Conditions on header fields; all must hold.
    pub headers: Vec<FieldMatch>,
    /// Conditions on query parameters; all must hold.
    pub queries: Vec<FieldMatch>,
    /// Whether the caller's function is to be asked as well.
    pub function: bool,
    /// Routes of higher priority come first, whatever their patterns.
    pub priority: i32,
}

/// The parts of a request that routes look at.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Host without port, any case.
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
    /// Answer 405; these methods are for `Allow` (RFC 9110, section 15.5.6), sorted.
    MethodNotAllowed(Vec<String>),
    /// Answer 404.
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

#[derive(Debug)]
struct Route {
    index: usize,
    path: PathPattern,
    names: Arc<[String]>,
    methods: Vec<String>,
    headers: Vec<FieldMatch>,
    queries: Vec<FieldMatch>,
    function: bool,
    priority: i32,
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
        for host in specs.iter().flat_map(hosts_of) {
            router.hosts.table_mut(host);
        }
        let mut listed: Vec<(usize, RouteSpec)> = specs.into_iter().enumerate().collect();
        listed.sort_by_cached_key(|(index, spec)| specificity(*index, spec));
        router.has_priorities = listed
            .windows(2)
            .any(|pair| pair[0].1.priority != pair[1].1.priority);
        for (rank, (index, spec)) in (0..).zip(listed) {
            for host in hosts_of(&spec) {
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
    /// matches nothing: the caller answers 400 for it beforehand.
    pub fn find(
        &self,
        candidate: &Candidate<'_>,
        fields: &dyn Fields,
        params: &mut Params,
        function: &mut dyn FnMut(usize) -> bool,
    ) -> Found {
        params.clear();
        let Ok(path) = normalize_path(candidate.path) else {
            return Found::None;
        };
        let mut search = Search {
            router: self,
            candidate,
            fields,
            function,
            refused: SmallVec::new(),
            allowed: Vec::new(),
            found: None,
        };
        let _ = self.visit(candidate.host, &path, &mut |rank| search.offer(rank));
        let Search { found, allowed, .. } = search;
        match found {
            Some(route) => {
                if !route.names.is_empty() {
                    params.begin(&route.names);
                    route.path.capture(&path, params);
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

impl Route {
    fn new(index: usize, spec: RouteSpec) -> Result<Self, RouteError> {
        for method in &spec.methods {
            if method.is_empty() || !method.bytes().all(is_token_byte) {
                let method = method.clone();
                return Err(RouteError::Method { route: index, method });
            }
        }
        Ok(Self {
            index,
            names: spec.path.names().into(),
            path: spec.path,
            methods: spec
                .methods
                .iter()
                .map(|method| method.to_ascii_uppercase())
                .collect(),
            headers: spec.headers.into_iter().map(FieldMatch::lower_name).collect(),
            queries: spec.queries,
            function: spec.function,
            priority: spec.priority,
        })
    }

    fn allows(&self, method: &[u8]) -> bool {
        let has = |wanted: &[u8]| self.methods.iter().any(|known| known.as_bytes() == wanted);
        self.methods.is_empty() || has(method) || (method == b"HEAD" && has(b"GET"))
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
    allowed: Vec<&'r Route>,
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
        if route.function && (self.refused.contains(&rank) || !(self.function)(route.index)) {
            self.refused.push(rank);
            return ControlFlow::Continue(());
        }
        self.found = Some(route);
        ControlFlow::Break(())
    }
}

fn hosts_of(spec: &RouteSpec) -> &[HostPattern] {
    const ALL: &[HostPattern] = &[HostPattern::Any];
    if spec.hosts.is_empty() {
        ALL
    } else {
        &spec.hosts
    }
}

/// Rules 3 to 5 of the order of choice as a sort key, the smallest first.
fn specificity(index: usize, spec: &RouteSpec) -> (u8, usize, bool, usize, usize) {
    let conditions = usize::from(!spec.methods.is_empty())
        + usize::from(spec.function)
        + spec.headers.len()
        + spec.queries.len();
    let fewest = usize::MAX - conditions;
    match &spec.path {
        PathPattern::Exact(_) => (0, 0, false, fewest, index),
        PathPattern::Prefix(text) => (1, usize::MAX - text.len(), true, fewest, index),
        PathPattern::Template(template) => {
            let has_rest = template.rest != crate::template::Rest::Nothing;
            (1, usize::MAX - template.literal_len(), has_rest, fewest, index)
        }
        PathPattern::Regex(_) => (2, 0, false, 0, index),
        PathPattern::Any => (3, 0, false, fewest, index),
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

/// `tchar` of RFC 9110, section 5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
#[path = "tests/router.rs"]
mod tests;
