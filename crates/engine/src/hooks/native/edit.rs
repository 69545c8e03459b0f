//! Edits of header fields: of the request, or of the response in phase `response`.

use std::borrow::Cow;

use headgate_wire::{FieldError, FieldLine, Head, RequestHead};
use serde::Deserialize;

use super::objects::BadAction;
use super::source::{plain_name, Source};
use crate::hooks::exchange::Exchange;
use crate::snapshot::Phase;

/// Changes fields, in this order: remove, rename, set, add, default.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EditFields {
    /// A name that ends with `*` is all that begin so.
    #[serde(default)]
    remove: Vec<String>,
    #[serde(default)]
    rename: Vec<(String, String)>,
    #[serde(default)]
    set: Vec<(String, Value)>,
    #[serde(default)]
    add: Vec<(String, Value)>,
    #[serde(default)]
    default: Vec<(String, Value)>,
    /// Only for clients that came over this one: `http` or `https`.
    #[serde(default)]
    scheme: Option<String>,
    #[serde(skip)]
    ready: Ready,
}

/// What is filled in, with all lines made that are always the same.
#[derive(Default)]
struct Ready {
    set: Vec<Filled>,
    add: Vec<Filled>,
    default: Vec<Filled>,
}

enum Filled {
    With(FieldLine),
    Of(String, Source),
}

/// What a field is set to.
#[derive(Deserialize)]
#[serde(try_from = "Told")]
enum Value {
    Text(String),
    /// A part of the request; empty if it is not there.
    Of(Source),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Told {
    Text(String),
    Of { of: String },
}

impl TryFrom<Told> for Value {
    type Error = String;

    fn try_from(told: Told) -> Result<Self, String> {
        match told {
            Told::Text(text) => Ok(Self::Text(text)),
            Told::Of { of } => Source::try_from(of).map(Self::Of),
        }
    }
}

impl EditFields {
    pub(super) fn prepare(&mut self) -> Result<(), BadAction> {
        if let Some(other) = self
            .scheme
            .as_deref()
            .filter(|one| !["http", "https"].contains(one))
        {
            let text = format!("`{other}` is not a valid scheme; hint: write `http` or `https`");
            return Err(BadAction(text));
        }
        for name in self.remove.iter().chain(self.rename.iter().map(|(old, _)| old)) {
            plain_name(name).map_err(BadAction)?;
        }
        for (_, new) in &self.rename {
            check_field(new, "")?;
        }
        let ready = |values: &mut Vec<(String, Value)>| {
            let values = std::mem::take(values).into_iter();
            values
                .map(|(name, value)| filled(name, value))
                .collect::<Result<Vec<_>, _>>()
        };
        self.ready = Ready {
            set: ready(&mut self.set)?,
            add: ready(&mut self.add)?,
            default: ready(&mut self.default)?,
        };
        Ok(())
    }

    pub(super) fn run(&self, exchange: &Exchange, phase: Phase) -> bool {
        if self
            .scheme
            .as_ref()
            .is_some_and(|scheme| scheme != exchange.client.scheme)
        {
            return true;
        }
        if phase == Phase::Response {
            let (request, mut response) = (exchange.request.borrow(), exchange.response.borrow_mut());
            return response
                .as_mut()
                .is_some_and(|response| self.edit(exchange, Edited::Response(&mut response.head, &request)));
        }
        self.edit(exchange, Edited::Request(&mut exchange.request.borrow_mut()))
    }

    fn edit(&self, exchange: &Exchange, mut edited: Edited<'_>) -> bool {
        self.clear(edited.head()).is_ok() && self.fill(exchange, &mut edited).is_ok()
    }

    fn clear(&self, head: &mut Head) -> Result<(), FieldError> {
        for name in &self.remove {
            match name.strip_suffix('*') {
                Some(begin) => head.retain(|name, _| !begins_with(name, begin.as_bytes())),
                None => head.remove(name.as_bytes()),
            }
        }
        for (old, new) in &self.rename {
            let values: Vec<Vec<u8>> = head.get_all(old.as_bytes()).map(<[u8]>::to_vec).collect();
            head.remove(old.as_bytes());
            for value in values {
                head.add(new.as_bytes(), &value)?;
            }
        }
        Ok(())
    }

    fn fill(&self, exchange: &Exchange, edited: &mut Edited<'_>) -> Result<(), FieldError> {
        for one in &self.ready.set {
            let line = one.line(exchange, edited)?;
            edited.head().set_line(&line)?;
        }
        for one in &self.ready.add {
            let line = one.line(exchange, edited)?;
            edited.head().add_line(&line)?;
        }
        for one in &self.ready.default {
            if edited.head().get(one.name()).is_none() {
                let line = one.line(exchange, edited)?;
                edited.head().add_line(&line)?;
            }
        }
        Ok(())
    }
}

impl Filled {
    fn name(&self) -> &[u8] {
        match self {
            Self::With(line) => line.name(),
            Self::Of(name, _) => name.as_bytes(),
        }
    }

    fn line(&self, exchange: &Exchange, edited: &Edited<'_>) -> Result<Cow<'_, FieldLine>, FieldError> {
        match self {
            Self::With(line) => Ok(Cow::Borrowed(line)),
            Self::Of(name, of) => {
                let mut value = Vec::with_capacity(64);
                of.append(exchange, edited.request(), &mut value);
                FieldLine::new(name.as_bytes(), &value).map(Cow::Owned)
            }
        }
    }
}

fn filled(name: String, value: Value) -> Result<Filled, BadAction> {
    match value {
        Value::Text(text) => checked_line(&name, &text).map(Filled::With),
        Value::Of(of) => check_field(&name, "").map(|()| Filled::Of(name, of)),
    }
}

/// What is edited, and the request that values are parts of.
enum Edited<'a> {
    Request(&'a mut RequestHead),
    Response(&'a mut Head, &'a RequestHead),
}

impl Edited<'_> {
    fn head(&mut self) -> &mut Head {
        match self {
            Self::Request(request) => &mut request.head,
            Self::Response(head, _) => head,
        }
    }

    fn request(&self) -> &RequestHead {
        match self {
            Self::Request(request) => request,
            Self::Response(_, request) => request,
        }
    }
}

/// Refuses what no message can have, so that it is said when the configuration is read.
pub(super) fn check_field(name: &str, value: &str) -> Result<(), BadAction> {
    checked_line(name, value).map(drop)
}

/// The line of a field that a message can have.
pub(super) fn checked_line(name: &str, value: &str) -> Result<FieldLine, BadAction> {
    let name = plain_name(name).map_err(BadAction)?;
    FieldLine::new(name.as_bytes(), value.as_bytes()).map_err(|error| BadAction(error.to_string()))
}

fn begins_with(name: &[u8], begin: &[u8]) -> bool {
    name.get(..begin.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(begin))
}

/// Edits the head that hooks of a phase edit. False if that is not possible.
pub(super) fn edited(
    exchange: &Exchange,
    phase: Phase,
    edit: impl FnOnce(&mut Head) -> Result<(), FieldError>,
) -> bool {
    if phase != Phase::Response {
        return edit(&mut exchange.request.borrow_mut().head).is_ok();
    }
    let mut response = exchange.response.borrow_mut();
    response
        .as_mut()
        .is_some_and(|response| edit(&mut response.head).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_checked_when_read() {
        for (name, value, is_fit) in [
            ("x-a", "b", true),
            ("x a", "b", false),
            ("x-a", "b\r\n", false),
            ("content-length", "1", false),
            ("Host", "a", false),
            ("connection", "close", false),
        ] {
            assert_eq!(check_field(name, value).is_ok(), is_fit, "{name}: {value:?}");
        }
    }

    #[test]
    fn what_nothing_can_have_is_refused() {
        for (edits, is_fit) in [
            (r#"{"remove": ["x-debug-*", "*"], "scheme": "https"}"#, true),
            (r#"{"remove": ["x a"]}"#, false),
            (r#"{"rename": [["x a", "x-b"]]}"#, false),
            (r#"{"scheme": "HTTP"}"#, false),
        ] {
            let mut edits: EditFields = serde_json::from_str(edits).expect("well formed");
            assert_eq!(edits.prepare().is_ok(), is_fit);
        }
    }

    #[test]
    fn a_name_begins_in_any_case() {
        assert!(begins_with(b"X-Debug-Id", b"x-debug-"));
        assert!(!begins_with(b"X-D", b"x-debug-"));
        assert!(begins_with(b"x", b""));
    }
}
