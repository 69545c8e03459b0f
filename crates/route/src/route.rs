//! One route: what it asks of a request, and how specific it is.

use std::sync::Arc;

use crate::conditions::{FieldMatch, Fields};
use crate::error::RouteError;
use crate::host_pattern::HostPattern;
use crate::path_pattern::PathPattern;
use crate::rank::{Listed, Rank};
use crate::template::Rest;

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

/// A route as the router keeps it.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) rank: Rank,
    pub(crate) hosts: Vec<HostPattern>,
    pub(crate) path: PathPattern,
    pub(crate) names: Arc<[String]>,
    pub(crate) methods: Vec<String>,
    pub(crate) headers: Vec<FieldMatch>,
    pub(crate) queries: Vec<FieldMatch>,
    pub(crate) function: bool,
    pub(crate) priority: i32,
}

/// What keeps a request from a route whose host and path match: the condition on a field of that name, or the method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Miss<'r> {
    Header(&'r str),
    Query(&'r str),
    Method,
}

impl RouteSpec {
    /// Rules 3 and 4 of the order of choice (see [`crate::router`]) as a sort key, the smallest first.
    fn specificity(&self) -> (u8, usize, bool, usize) {
        let conditions = usize::from(!self.methods.is_empty())
            + usize::from(self.function)
            + self.headers.len()
            + self.queries.len();
        let fewest = usize::MAX - conditions;
        match &self.path {
            PathPattern::Exact(_) => (0, 0, false, fewest),
            PathPattern::Prefix(text) => (1, usize::MAX - text.len(), true, fewest),
            PathPattern::Template(template) => {
                let has_rest = template.rest != Rest::Nothing;
                (1, usize::MAX - template.literal_len(), has_rest, fewest)
            }
            PathPattern::Regex(_) => (2, 0, false, 0),
            PathPattern::Any => (3, 0, false, fewest),
        }
    }
}

impl Route {
    /// `index` is for the error.
    pub(crate) fn new(index: usize, listed: Listed, spec: RouteSpec) -> Result<Self, RouteError> {
        for method in &spec.methods {
            if method.is_empty() || !method.bytes().all(is_token_byte) {
                let method = method.clone();
                return Err(RouteError::Method { route: index, method });
            }
        }
        Ok(Self {
            rank: Rank {
                specificity: spec.specificity(),
                listed,
            },
            hosts: spec.hosts,
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

    /// The host patterns; at least one.
    pub(crate) fn hosts(&self) -> &[HostPattern] {
        const ALL: &[HostPattern] = &[HostPattern::Any];
        if self.hosts.is_empty() {
            ALL
        } else {
            &self.hosts
        }
    }

    /// The first condition that does not hold, if any; the host and the path match.
    pub(crate) fn miss(&self, method: &[u8], query: &[u8], fields: &dyn Fields) -> Option<Miss<'_>> {
        if let Some(field) = self.headers.iter().find(|field| !field.matches_header(fields)) {
            return Some(Miss::Header(field.name()));
        }
        if let Some(field) = self.queries.iter().find(|field| !field.matches_query(query)) {
            return Some(Miss::Query(field.name()));
        }
        (!self.allows(method)).then_some(Miss::Method)
    }

    pub(crate) fn allows(&self, method: &[u8]) -> bool {
        let has = |wanted: &[u8]| self.methods.iter().any(|known| known.as_bytes() == wanted);
        self.methods.is_empty() || has(method) || (method == b"HEAD" && has(b"GET"))
    }
}

/// `tchar` of RFC 9110, section 5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
