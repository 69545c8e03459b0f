//! Path templates: `/api/{version}/users/{id}.json`, `/files/{name:path}`, `/api/{version}/*`.

use crate::error::PatternError;
use crate::normalise::respell;
use crate::params::Params;

/// A path with parameters, taken apart into segments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pub(crate) segments: Vec<Segment>,
    pub(crate) rest: Rest,
    names: Vec<String>,
}

/// One segment between two `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Segment {
    Literal(Vec<u8>),
    /// `v{version}.json`: text before, a value of at least one byte, text after.
    Param {
        before: Vec<u8>,
        after: Vec<u8>,
    },
}

/// What may follow the segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Nothing: the template is the whole path.
    Nothing,
    /// `/*`: anything, or nothing at all.
    Any,
    /// `/{name:path}`: the same, taken as a parameter (perhaps empty).
    Param,
}

impl Template {
    /// Reads a pattern that starts with `/` and holds a `{`.
    pub(crate) fn parse(pattern: &str) -> Result<Self, PatternError> {
        let mut template = Self {
            segments: Vec::new(),
            rest: Rest::Nothing,
            names: Vec::new(),
        };
        let mut parts = pattern[1..].split('/').peekable();
        while let Some(part) = parts.next() {
            let is_last = parts.peek().is_none();
            template.add(pattern, part, is_last)?;
        }
        Ok(template)
    }

    /// Names of the parameters, in order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// How many characters of a matching path are given by the template, separators included.
    pub(crate) fn literal_len(&self) -> usize {
        let of_segment = |segment: &Segment| match segment {
            Segment::Literal(text) => text.len() + 1,
            Segment::Param { before, after } => before.len() + after.len() + 1,
        };
        let rest = usize::from(self.rest != Rest::Nothing);
        self.segments.iter().map(of_segment).sum::<usize>() + rest
    }

    /// Takes the values out of a path that this template matches.
    pub(crate) fn capture(&self, path: &[u8], params: &mut Params) {
        let mut remaining = Remaining::of(path);
        let mut name = 0;
        for segment in &self.segments {
            let text = remaining.next_segment().unwrap_or_default();
            if let Segment::Param { before, after } = segment {
                let end = text.len().saturating_sub(after.len());
                params.push(name, text.get(before.len()..end).unwrap_or_default());
                name += 1;
            }
        }
        if self.rest == Rest::Param {
            params.push(name, remaining.0.unwrap_or_default());
        }
    }

    fn add(&mut self, pattern: &str, part: &str, is_last: bool) -> Result<(), PatternError> {
        let error = |problem: &str, hint| Err(PatternError::new("path", pattern, problem, hint));
        if part == "*" && is_last {
            self.rest = Rest::Any;
            return Ok(());
        }
        if part.contains('*') {
            return error(
                "a `*` stands only for everything after the last `/`",
                "take one segment with `{name}`, the rest with `/*` or `/{name:path}`",
            );
        }
        let Some((before, tail)) = part.split_once('{') else {
            if part.contains('}') {
                return error("a `}` has no `{`", "write `{name}`");
            }
            self.segments.push(Segment::Literal(literal(pattern, part)?));
            return Ok(());
        };
        let Some((inside, after)) = tail.split_once('}') else {
            return error("a `{` has no `}`", "write `{name}`; a name holds no `/`");
        };
        if after.contains(['{', '}']) || before.contains('}') {
            return error(
                "a segment holds more than one parameter",
                "separate parameters with `/`, or use a regex: `~^/(?<a>[^/]+)-(?<b>[^/]+)$`",
            );
        }
        let (name, kind) = match inside.split_once(':') {
            Some((name, kind)) => (name, Some(kind)),
            None => (inside, None),
        };
        self.add_name(pattern, name)?;
        match kind {
            None => self.segments.push(Segment::Param {
                before: literal(pattern, before)?,
                after: literal(pattern, after)?,
            }),
            Some("path") if is_last && before.is_empty() && after.is_empty() => {
                self.rest = Rest::Param;
            }
            Some("path") => {
                return error(
                    "a `:path` parameter is not the whole last segment",
                    "write it last, as in `/files/{name:path}`, or use a regex",
                )
            }
            Some(_) => {
                return error(
                    "a parameter's kind is unknown",
                    "write `{name}`, `{name:path}`, or a regex: `~^/items/(?<id>[0-9]+)$`",
                )
            }
        }
        Ok(())
    }

    fn add_name(&mut self, pattern: &str, name: &str) -> Result<(), PatternError> {
        let error = |problem: String, hint| Err(PatternError::new("path", pattern, problem, hint));
        let is_word = name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
        if !is_word {
            let hint = "a name is letters, digits and `_`, and starts with no digit: `{version}`";
            return error(format!("`{name}` is not a valid parameter name"), hint);
        }
        if self.names.iter().any(|known| known == name) {
            let problem = format!("the parameter `{name}` stands twice");
            return error(problem, "give each parameter its own name");
        }
        self.names.push(name.to_owned());
        Ok(())
    }
}

/// The part of a path that is not consumed yet: `None` once its last segment is taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Remaining<'p>(pub(crate) Option<&'p [u8]>);

impl<'p> Remaining<'p> {
    pub(crate) fn of(path: &'p [u8]) -> Self {
        Self(path.strip_prefix(b"/"))
    }

    pub(crate) fn next_segment(&mut self) -> Option<&'p [u8]> {
        let text = self.0?;
        if let Some(slash) = text.iter().position(|byte| *byte == b'/') {
            self.0 = Some(&text[slash + 1..]);
            return Some(&text[..slash]);
        }
        self.0 = None;
        Some(text)
    }
}

/// Literal text of a pattern in the spelling that paths are matched in.
pub(crate) fn literal(pattern: &str, text: &str) -> Result<Vec<u8>, PatternError> {
    respell(text.as_bytes()).map_err(|error| {
        let hint = "write a literal `%` as `%25`";
        PatternError::new("path", pattern, error.to_string(), hint)
    })
}
