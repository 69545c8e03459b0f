//! What clients are told of the rates that hold for them.

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::Arc;

use serde::Deserialize;

use headgate_wire::FieldLine;

use super::edit::{check_field, checked_line, edited};
use super::objects::{BadAction, Objects};
use super::period::Period;
use super::throttle::Left;
use super::time::whole;
use crate::hooks::exchange::Exchange;
use crate::hooks::notes::Note;
use crate::snapshot::Phase;

/// Tells the client what is left (draft-ietf-httpapi-ratelimit-headers-10).
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RateFields {
    note: String,
    /// The names of the rates, in the order of their [`Throttle`].
    names: Vec<String>,
    /// The value of `RateLimit-Policy`.
    policy: String,
    /// The span whose length ends the policy.
    period: Option<usize>,
    #[serde(skip)]
    span: Option<Arc<Period>>,
    /// The policy, where it is always the same.
    #[serde(skip)]
    line: Option<FieldLine>,
    /// Where the value is written, in the room of those before.
    #[serde(skip)]
    scrap: RefCell<Vec<u8>>,
}

impl RateFields {
    pub(super) fn prepare(&mut self, objects: &Objects) -> Result<(), BadAction> {
        if let Some(period) = self.period {
            self.span = Some(objects.period(period)?);
        }
        let line = checked_line("ratelimit-policy", &self.policy)?;
        self.line = self.span.is_none().then_some(line);
        self.names
            .iter()
            .try_for_each(|name| check_field("ratelimit", name))
    }

    pub(super) fn run(&self, exchange: &Exchange) -> bool {
        let mut told = self.scrap.borrow_mut();
        told.clear();
        let is_told = exchange.notes.read(&self.note, |note| {
            let rates = match note {
                Note::Rate(rate) => std::slice::from_ref(rate),
                Note::Rates(rates) => rates,
                _ => return None,
            };
            self.tell(rates, &mut told);
            Some(())
        });
        if is_told.is_none() {
            return false;
        }
        edited(exchange, Phase::Response, |head| {
            match &self.line {
                Some(line) => head.add_line(line)?,
                None => head.add(b"ratelimit-policy", self.policy().as_bytes())?,
            }
            head.add_own(b"ratelimit", &told)
        })
    }

    fn policy(&self) -> Cow<'_, str> {
        self.span.as_ref().map_or(Cow::Borrowed(&*self.policy), |period| {
            let (begin, end) = period.span();
            Cow::Owned(format!("{};w={}", self.policy, whole((end - begin).ceil())))
        })
    }

    fn tell(&self, rates: &[Left], told: &mut Vec<u8>) {
        let (mut left_digits, mut reset_digits) = (itoa::Buffer::new(), itoa::Buffer::new());
        for (name, (left, reset)) in self.names.iter().zip(rates) {
            let (left, reset) = (left_digits.format(*left), reset_digits.format(*reset));
            let before = if told.is_empty() { "\"" } else { ", \"" };
            for part in [before, name, "\";r=", left, ";t=", reset] {
                told.extend_from_slice(part.as_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_name_each_rate() {
        let fields: RateFields =
            serde_json::from_str(r#"{"note": "n", "names": ["a", "a-2"], "policy": "p", "period": null}"#)
                .unwrap();
        let mut told = Vec::new();
        fields.tell(&[(1, 2), (3, 4)], &mut told);
        assert_eq!(told, br#""a";r=1;t=2, "a-2";r=3;t=4"#);
        assert_eq!(fields.policy(), "p");
    }

    #[test]
    fn a_policy_says_how_long_its_period_is() {
        let mut fields: RateFields =
            serde_json::from_str(r#"{"note": "n", "names": ["a"], "policy": "p", "period": 0}"#).unwrap();
        let objects = Objects {
            periods: vec![Arc::default()],
            ..Objects::default()
        };
        fields.prepare(&objects).unwrap();
        objects.periods[0].set(100.0, 3700.0);
        assert_eq!(fields.policy(), "p;w=3600");
    }
}
