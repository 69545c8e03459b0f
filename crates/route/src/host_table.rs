//! From a host to the path tables of the patterns it matches, the most specific first.
//!
//! How it works: exact names, suffixes and prefixes are hash lookups, one for each dot of the host, and only up to the
//! longest key configured: a host of many dots costs a client more to send than us to look up. Regexes are tried in the
//! order listed.

use std::collections::HashMap;
use std::ops::ControlFlow;

use regex::bytes::Regex;

use crate::host_pattern::HostPattern;
use crate::path_table::PathTable;

#[derive(Debug, Default)]
pub(crate) struct HostTable {
    exact: HashMap<Box<[u8]>, PathTable>,
    suffixes: Wildcards,
    prefixes: Wildcards,
    regexes: Vec<(Regex, PathTable)>,
    any: PathTable,
}

#[derive(Debug, Default)]
struct Wildcards {
    tables: HashMap<Box<[u8]>, PathTable>,
    longest: usize,
}

impl HostTable {
    /// The table for routes of this pattern, made if it is not there yet.
    pub(crate) fn table_mut(&mut self, pattern: &HostPattern) -> &mut PathTable {
        match pattern {
            HostPattern::Any => &mut self.any,
            HostPattern::Exact(name) => self.exact.entry(name.as_bytes().into()).or_default(),
            HostPattern::Suffix(name) => self.suffixes.table_mut(name),
            HostPattern::Prefix(name) => self.prefixes.table_mut(name),
            HostPattern::Regex(regex) => {
                let known = |(other, _): &(Regex, _)| other.as_str() == regex.as_str();
                let at = self.regexes.iter().position(known).unwrap_or_else(|| {
                    self.regexes.push((regex.clone(), PathTable::default()));
                    self.regexes.len() - 1
                });
                &mut self.regexes[at].1
            }
        }
    }

    /// Whether there is no pattern but the one that all hosts match.
    pub(crate) fn is_any(&self) -> bool {
        self.exact.is_empty()
            && self.suffixes.longest == 0
            && self.prefixes.longest == 0
            && self.regexes.is_empty()
    }

    /// The table of that one.
    pub(crate) fn any(&self) -> &PathTable {
        &self.any
    }

    /// To be called once after the last `table_mut`.
    pub(crate) fn finish(&mut self) {
        let exact = self.exact.values_mut();
        let wild = self.suffixes.tables.values_mut();
        let wild = wild.chain(self.prefixes.tables.values_mut());
        let regexes = self.regexes.iter_mut().map(|(_, table)| table);
        for table in exact.chain(wild).chain(regexes).chain([&mut self.any]) {
            table.finish();
        }
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
        if self.suffixes.longest > 0 {
            // A suffix is never the whole host, and the leftmost dot gives the longest one.
            let leftmost = host.len().saturating_sub(self.suffixes.longest).max(1);
            for at in (leftmost..host.len()).filter(|at| host[*at] == b'.') {
                self.suffixes.visit(&host[at..], visit)?;
            }
        }
        if self.prefixes.longest > 0 {
            // The rightmost dot gives the longest prefix, and something must follow it.
            let longest = self.prefixes.longest.min(host.len().saturating_sub(1));
            for end in (2..=longest).rev().filter(|end| host[end - 1] == b'.') {
                self.prefixes.visit(&host[..end], visit)?;
            }
        }
        for (regex, table) in &self.regexes {
            if regex.is_match(host) {
                visit(table)?;
            }
        }
        visit(&self.any)
    }
}

impl Wildcards {
    fn table_mut(&mut self, name: &str) -> &mut PathTable {
        self.longest = self.longest.max(name.len());
        self.tables.entry(name.as_bytes().into()).or_default()
    }

    fn visit<'t>(
        &'t self,
        key: &[u8],
        visit: &mut dyn FnMut(&'t PathTable) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.tables.get(key).map_or(ControlFlow::Continue(()), visit)
    }
}
