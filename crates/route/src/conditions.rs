//! Conditions on header fields and query parameters.

use std::sync::Arc;

use regex::bytes::Regex;

use crate::error::PatternError;
use crate::percent::percent_decode;
use crate::regexes::compiled;

/// Where the router reads a request's header fields from.
pub trait Fields {
    /// The first value of the field `name` (lower case given; field names are case-insensitive).
    fn header(&self, name: &str) -> Option<&[u8]>;
}

/// A condition on a header field or a query parameter.
///
/// Values of header fields are compared as they are, names and values of query parameters percent-decoded with `+` as a
/// space. A query parameter given several times matches if one of its values does.
#[derive(Debug, Clone)]
pub enum FieldMatch {
    /// The field is there, with any value.
    Present(String),
    /// The field has exactly this value.
    Equals(String, String),
    /// The regex is found in the field's value.
    Regex(String, Arc<Regex>),
    /// The field is not there.
    Absent(String),
}

impl FieldMatch {
    /// Reads a condition: `name` alone is present, `!name` absent; a value starting with `~` is a regex (`~*` without
    /// regard to case).
    pub fn parse(name: &str, value: Option<&str>) -> Result<Self, PatternError> {
        let (bare, is_negated) = match name.strip_prefix('!') {
            Some(rest) => (rest, true),
            None => (name, false),
        };
        if bare.is_empty() {
            let hint = "write a field name such as `x-version`, or `!x-version` for absent";
            return Err(PatternError::new("field", name, "the name is empty", hint));
        }
        match (value, is_negated) {
            (None, true) => Ok(Self::Absent(bare.to_owned())),
            (None, false) => Ok(Self::Present(bare.to_owned())),
            (Some(_), true) => Err(PatternError::new(
                "field",
                name,
                "an absent field has no value",
                "leave the value out, or match other values with a regex",
            )),
            (Some(value), false) => Self::parse_value(bare, value),
        }
    }

    /// The name of the field.
    pub fn name(&self) -> &str {
        match self {
            Self::Present(name) | Self::Equals(name, _) | Self::Regex(name, _) | Self::Absent(name) => name,
        }
    }

    pub(crate) fn matches_header(&self, fields: &dyn Fields) -> bool {
        match fields.header(self.name()) {
            Some(value) => self.accepts(value),
            None => matches!(self, Self::Absent(_)),
        }
    }

    pub(crate) fn matches_query(&self, query: &[u8]) -> bool {
        let mut values = query_values(query, self.name().as_bytes());
        if matches!(self, Self::Absent(_)) {
            return values.next().is_none();
        }
        values.any(|value| self.accepts(&value))
    }

    /// Field names of headers are case-insensitive: one case for the lookup.
    pub(crate) fn lower_name(self) -> Self {
        let lower = self.name().to_ascii_lowercase();
        match self {
            Self::Present(_) => Self::Present(lower),
            Self::Equals(_, value) => Self::Equals(lower, value),
            Self::Regex(_, regex) => Self::Regex(lower, regex),
            Self::Absent(_) => Self::Absent(lower),
        }
    }

    fn accepts(&self, value: &[u8]) -> bool {
        match self {
            Self::Present(_) => true,
            Self::Equals(_, expected) => value == expected.as_bytes(),
            Self::Regex(_, regex) => regex.is_match(value),
            Self::Absent(_) => false,
        }
    }

    fn parse_value(name: &str, value: &str) -> Result<Self, PatternError> {
        match parse_regex("field value", value, false)? {
            Some(regex) => Ok(Self::Regex(name.to_owned(), regex)),
            None => Ok(Self::Equals(name.to_owned(), value.to_owned())),
        }
    }
}

/// Reads `~regex` or `~*regex`; `None` if `pattern` starts with neither.
pub(crate) fn parse_regex(
    kind: &'static str,
    pattern: &str,
    ignores_case: bool,
) -> Result<Option<Arc<Regex>>, PatternError> {
    const HINT: &str = "the syntax is that of https://docs.rs/regex: no look-around, no back-references";
    let Some(rest) = pattern.strip_prefix('~') else {
        return Ok(None);
    };
    let (source, any_case) = match rest.strip_prefix('*') {
        Some(source) => (source, true),
        None => (rest, ignores_case),
    };
    let source = source.trim();
    if source.is_empty() {
        return Err(PatternError::new(kind, pattern, "the regex is empty", HINT));
    }
    compiled(source, any_case)
        .map(Some)
        .map_err(|error| PatternError::new(kind, pattern, error.to_string(), HINT))
}

fn query_values<'q>(query: &'q [u8], name: &'q [u8]) -> impl Iterator<Item = Vec<u8>> + 'q {
    query
        .split(|byte| *byte == b'&')
        .filter(|pair| !pair.is_empty())
        .filter_map(move |pair| {
            let (key, value) = match pair.iter().position(|byte| *byte == b'=') {
                Some(at) => (&pair[..at], &pair[at + 1..]),
                None => (pair, &b""[..]),
            };
            (decode_form(key) == name).then(|| decode_form(value))
        })
}

/// Decodes `application/x-www-form-urlencoded` text (WHATWG URL, section 5.1).
fn decode_form(text: &[u8]) -> Vec<u8> {
    let spaced: Vec<u8> = text
        .iter()
        .map(|byte| if *byte == b'+' { b' ' } else { *byte })
        .collect();
    percent_decode(&spaced).into_owned()
}
