//! From a host to the path tables of the patterns it matches, the most specific first.
//!
//! How it works: exact names, suffixes and prefixes are hash lookups, one for each dot of the host, and only up to the
//! longest key configured: a host of many dots costs a client more to send than us to look up. Regexes are tried in the
//! order listed.

use std::ops::ControlFlow;
use std::sync::Arc;

use regex::bytes::Regex;

use crate::host_pattern::HostPattern;
use crate::path_table::PathTable;
use crate::persistent::{PersistentList, PersistentMap};
use crate::rank::Listed;
use crate::route::Route;
use crate::slots::Slot;

#[derive(Debug, Default, Clone)]
pub(crate) struct HostTable {
    exact: PersistentMap<Arc<PathTable>>,
    suffixes: Wildcards,
    prefixes: Wildcards,
    regexes: Vec<RegexHosts>,
    any: Arc<PathTable>,
}

#[derive(Debug, Default, Clone)]
struct Wildcards {
    tables: PersistentMap<Arc<PathTable>>,
    /// No key is longer.
    longest: usize,
}

/// The routes of a regex, which is tried when the first of them is listed.
#[derive(Debug, Clone)]
struct RegexHosts {
    regex: Arc<Regex>,
    /// Sorted.
    listed: Vec<Listed>,
    table: Arc<PathTable>,
}

impl HostTable {
    /// Adds a route, which is in `routes` already, under one of its hosts.
    pub(crate) fn insert(&mut self, host: &HostPattern, slot: Slot, routes: &PersistentList<Route>) {
        Arc::make_mut(self.table_mut(host, &routes[slot as usize].rank.listed)).insert(slot, routes);
    }

    /// Takes a route out from under one of its hosts.
    pub(crate) fn remove(&mut self, host: &HostPattern, route: &Route, slot: Slot) {
        let listed = &route.rank.listed;
        let take = |table: &mut Arc<PathTable>| {
            let table = Arc::make_mut(table);
            table.remove(&route.path, slot);
            table.is_empty()
        };
        match host {
            HostPattern::Any => drop(take(&mut self.any)),
            HostPattern::Exact(name) => remove_from(&mut self.exact, name, take),
            HostPattern::Suffix(name) => remove_from(&mut self.suffixes.tables, name, take),
            HostPattern::Prefix(name) => remove_from(&mut self.prefixes.tables, name, take),
            HostPattern::Regex(regex) => {
                let Some(at) = self.regexes.iter().position(|hosts| hosts.is(regex)) else {
                    return;
                };
                take(&mut self.regexes[at].table);
                self.regexes[at].listed.retain(|other| other != listed);
                if self.regexes[at].listed.is_empty() {
                    self.regexes.remove(at);
                }
                self.sort_regexes();
            }
        }
    }

    fn table_mut(&mut self, pattern: &HostPattern, listed: &Listed) -> &mut Arc<PathTable> {
        match pattern {
            HostPattern::Any => &mut self.any,
            HostPattern::Exact(name) => self.exact.entry(name.as_bytes()),
            HostPattern::Suffix(name) => self.suffixes.table_mut(name),
            HostPattern::Prefix(name) => self.prefixes.table_mut(name),
            HostPattern::Regex(regex) => {
                let known = self.regexes.iter_mut().find(|hosts| hosts.is(regex));
                if let Some(hosts) = known {
                    let at = hosts.listed.partition_point(|other| other < listed);
                    hosts.listed.insert(at, listed.clone());
                } else {
                    self.regexes.push(RegexHosts {
                        regex: regex.clone(),
                        listed: vec![listed.clone()],
                        table: Arc::default(),
                    });
                }
                self.sort_regexes();
                let at = self.regexes.iter().position(|hosts| hosts.is(regex));
                &mut self.regexes[at.expect("it was added")].table
            }
        }
    }

    fn sort_regexes(&mut self) {
        self.regexes.sort_by(|one, other| one.listed.cmp(&other.listed));
    }

    /// Whether there is no pattern but the one that all hosts match.
    pub(crate) fn is_any(&self) -> bool {
        self.exact.is_empty()
            && self.suffixes.tables.is_empty()
            && self.prefixes.tables.is_empty()
            && self.regexes.is_empty()
    }

    /// The table of that one.
    pub(crate) fn any(&self) -> &PathTable {
        &self.any
    }

    /// Shows the tables of all patterns that `host` (lower case) matches: exact, longest suffix, longest prefix,
    /// regexes, any.
    pub(crate) fn visit<'t>(
        &'t self,
        host: &[u8],
        visit: &mut dyn FnMut(&'t PathTable) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if let Some(table) = self.exact.get(host) {
            visit(table)?;
        }
        if !self.suffixes.tables.is_empty() {
            // A suffix is never the whole host, and the leftmost dot gives the longest one.
            let leftmost = host.len().saturating_sub(self.suffixes.longest).max(1);
            for at in (leftmost..host.len()).filter(|at| host[*at] == b'.') {
                self.suffixes.visit(&host[at..], visit)?;
            }
        }
        if !self.prefixes.tables.is_empty() {
            // The rightmost dot gives the longest prefix, and something must follow it.
            let longest = self.prefixes.longest.min(host.len().saturating_sub(1));
            for end in (2..=longest).rev().filter(|end| host[end - 1] == b'.') {
                self.prefixes.visit(&host[..end], visit)?;
            }
        }
        for hosts in &self.regexes {
            if hosts.regex.is_match(host) {
                visit(&hosts.table)?;
            }
        }
        visit(&self.any)
    }
}

impl Wildcards {
    fn table_mut(&mut self, name: &str) -> &mut Arc<PathTable> {
        self.longest = self.longest.max(name.len());
        self.tables.entry(name.as_bytes())
    }

    fn visit<'t>(
        &'t self,
        key: &[u8],
        visit: &mut dyn FnMut(&'t PathTable) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.tables
            .get(key)
            .map_or(ControlFlow::Continue(()), |table| visit(table))
    }
}

impl RegexHosts {
    fn is(&self, regex: &Regex) -> bool {
        self.regex.as_str() == regex.as_str()
    }
}

/// Takes a route out of a table, with `take`, which says whether the table is empty then.
fn remove_from(
    tables: &mut PersistentMap<Arc<PathTable>>,
    name: &str,
    take: impl Fn(&mut Arc<PathTable>) -> bool,
) {
    if tables.get(name.as_bytes()).is_some() && take(tables.entry(name.as_bytes())) {
        tables.remove(name.as_bytes());
    }
}
