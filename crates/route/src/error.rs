//! What can be wrong with a pattern (the operator's fault) and with a path (the client's fault).

use thiserror::Error;

/// A host, path or field pattern that cannot be understood; names the pattern and says how to write it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{pattern}` is not a valid {kind} pattern: {problem}\nhint: {hint}")]
pub struct PatternError {
    kind: &'static str,
    pattern: String,
    problem: String,
    hint: &'static str,
}

impl PatternError {
    pub(crate) fn new(
        kind: &'static str,
        pattern: &str,
        problem: impl Into<String>,
        hint: &'static str,
    ) -> Self {
        Self {
            kind,
            pattern: pattern.to_owned(),
            problem: problem.into(),
            hint,
        }
    }

    /// The pattern as it was given.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// How to write it instead.
    pub fn hint(&self) -> &'static str {
        self.hint
    }
}

/// A list of routes that cannot become a router; `route` is the index in the list given.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RouteError {
    /// A method that is not a token (RFC 9110, section 9.1).
    #[error("`{method}` in route {route} is not a valid method\nhint: a method is a token such as `GET`; an empty list allows all")]
    Method {
        /// Index of the route.
        route: usize,
        /// The method as given.
        method: String,
    },
    /// More routes than a router holds (`u32::MAX`).
    #[error("too many routes: {count}\nhint: a router can have at most 4294967295")]
    TooMany {
        /// How many were given.
        count: usize,
    },
}

/// A request path that must be refused with 400; the client is at fault and a retry will not help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PathError {
    /// The path does not start with `/` (and is not `*`).
    #[error("the path does not start with `/`")]
    NotAbsolute,
    /// A `%` that two hexadecimal digits do not follow (RFC 3986, section 2.1).
    #[error("the path has a `%` that is not followed by two hexadecimal digits")]
    BadEscape,
    /// A NUL, raw or as `%00`: text functions of origins would end the path there.
    #[error("the path has a NUL byte")]
    Nul,
    /// More `..` than segments: the path points above the root.
    #[error("the path goes above the root")]
    AboveRoot,
    /// A segment that is `.` or `..` to servers that decode `%2F` or `%5C` or cut off `;parameters`.
    #[error("the path has a dot segment after an encoded slash or before a `;`")]
    HiddenDots,
    /// `%2F` or `%5C`, where they are refused.
    #[error("the path has an encoded slash")]
    EncodedSlash,
}

impl PathError {
    /// A short `snake_case` token for logs.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotAbsolute => "path_not_absolute",
            Self::BadEscape => "path_bad_escape",
            Self::Nul => "path_nul",
            Self::AboveRoot => "path_above_root",
            Self::HiddenDots => "path_hidden_dots",
            Self::EncodedSlash => "path_encoded_slash",
        }
    }
}
