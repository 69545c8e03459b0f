//! Parts of requests that have something in them that a hook looks for.

use std::borrow::Cow;

use regex::bytes::{Regex, RegexBuilder};
use serde::Deserialize;

use super::objects::BadAction;
use super::shape::percent_decoded;
use super::source::Source;
use crate::hooks::exchange::Exchange;

/// How often a part is looked at: as it is, decoded, and decoded twice.
const LOOKS: usize = 3;

/// Leaves requests to the hook that have a text or a pattern in a part, in any case, as it is or percent-decoded up to twice; and
/// those that it cannot tell of, which are not in ASCII.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AskFound {
    of: Source,
    texts: Vec<String>,
    patterns: Vec<String>,
    #[serde(skip)]
    any: Option<Regex>,
}

impl AskFound {
    pub(super) fn prepare(&mut self) -> Result<(), BadAction> {
        let texts = self.texts.iter().map(|text| regex::escape(text));
        let patterns = self.patterns.iter().map(|pattern| format!("(?:{pattern})"));
        let any: Vec<String> = texts.chain(patterns).collect();
        let any = any.join("|");
        if any.is_empty() || !any.is_ascii() {
            return Err(BadAction(
                "what is looked for is empty or not in ASCII".to_owned(),
            ));
        }
        let built = RegexBuilder::new(&any)
            .unicode(false)
            .case_insensitive(true)
            .build();
        self.any = Some(built.map_err(|error| BadAction(error.to_string()))?);
        Ok(())
    }

    pub(super) fn run(&self, exchange: &Exchange) -> bool {
        let mut value = Vec::with_capacity(64);
        self.of.append(exchange, &exchange.request.borrow(), &mut value);
        self.is_clear(&value)
    }

    fn is_clear(&self, value: &[u8]) -> bool {
        let Some(any) = &self.any else { return false };
        let mut value = Cow::Borrowed(value);
        for _ in 0..LOOKS {
            if !value.is_ascii() || any.is_match(&value) {
                return false;
            }
            match percent_decoded(&value, b'%') {
                Cow::Borrowed(_) => return true,
                Cow::Owned(decoded) => value = Cow::Owned(decoded),
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action(texts: &str, patterns: &str) -> Result<AskFound, BadAction> {
        let text = format!(r#"{{"of": "target", "texts": {texts}, "patterns": {patterns}}}"#);
        let mut action: AskFound = serde_json::from_str(&text).unwrap();
        action.prepare().map(|()| action)
    }

    #[test]
    fn what_is_looked_for_is_found_in_any_spelling() {
        let action = action(r#"["/.git", "a+b"]"#, r#"["\\.(bak|sql)$", "^/x"]"#).unwrap();
        for (target, is_clear) in [
            ("/", true),
            ("/a?b=%20c", true),
            ("/agit", true),
            ("/a.sqlx", true),
            ("/%zz", true),
            ("/.GIT/config", false),
            ("/%2egit", false),
            ("/%252egit", false),
            ("/%25252egit", true),
            ("/A%2BB", false),
            ("/a.Bak", false),
            ("/X", false),
            ("/%c3%a4", false),
            ("/ä", false),
        ] {
            assert_eq!(action.is_clear(target.as_bytes()), is_clear, "{target}");
        }
    }

    #[test]
    fn what_cannot_be_looked_for_is_refused() {
        for (texts, patterns) in [("[]", "[]"), (r#"["ä"]"#, "[]"), ("[]", r#"["("]"#)] {
            assert!(action(texts, patterns).is_err(), "{texts} {patterns}");
        }
    }
}
