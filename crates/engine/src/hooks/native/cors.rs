//! The CORS fields of responses (Fetch standard, section "CORS protocol").

use headgate_wire::{FieldError, FieldLine, Head};
use serde::Deserialize;

use super::edit::{checked_line, edited};
use super::objects::BadAction;
use crate::hooks::exchange::Exchange;
use crate::snapshot::Phase;

/// What a server may have sent of them.
const OWN: [&str; 6] = [
    "access-control-allow-origin",
    "access-control-allow-credentials",
    "access-control-expose-headers",
    "access-control-allow-methods",
    "access-control-allow-headers",
    "access-control-max-age",
];

/// What all of them begin with.
const PREFIX: &str = "access-control-";

/// Says who may read a response, in place of what the server said.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CorsFields {
    /// Whole origins that may; `*` is all.
    origins: Vec<String>,
    #[serde(default)]
    credentials: bool,
    /// The names of fields that scripts may read; empty for none.
    #[serde(default)]
    expose: String,
    /// Whether the hook knows more origins.
    #[serde(default)]
    asks: bool,
    #[serde(skip)]
    is_open: bool,
    /// What is the same for all who may read.
    #[serde(skip)]
    always: Vec<FieldLine>,
    #[serde(skip)]
    vary: Option<FieldLine>,
}

impl CorsFields {
    pub(super) fn prepare(&mut self) -> Result<(), BadAction> {
        let is_origin = |one: &String| !one.is_empty() && one.bytes().all(|byte| byte.is_ascii_graphic());
        if let Some(wrong) = self.origins.iter().find(|one| !is_origin(one)) {
            let text = format!("`{wrong}` is not a valid origin; hint: write `https://example.com`");
            return Err(BadAction(text));
        }
        self.is_open = self.origins.iter().any(|one| one == "*");
        let fields = [
            (self.is_open, OWN[0], "*"),
            (self.credentials, OWN[1], "true"),
            (!self.expose.is_empty(), OWN[2], &*self.expose),
        ];
        let told = fields.into_iter().filter(|(is_told, ..)| *is_told);
        self.always = told
            .map(|(_, name, value)| checked_line(name, value))
            .collect::<Result<_, _>>()?;
        self.vary = Some(checked_line("vary", "Origin")?);
        Ok(())
    }

    pub(super) fn run(&self, exchange: &Exchange) -> bool {
        let request = exchange.request.borrow();
        let origin = request.head.get(b"origin");
        let is_known = origin
            .is_some_and(|origin| self.is_open || self.origins.iter().any(|one| one.as_bytes() == origin));
        if self.asks && origin.is_some() && !is_known {
            return false;
        }
        let origin = origin.filter(|_| is_known);
        edited(exchange, Phase::Response, |head| self.mark(head, origin))
    }

    fn mark(&self, head: &mut Head, origin: Option<&[u8]>) -> Result<(), FieldError> {
        head.retain(|name, _| !is_own(name));
        if !self.is_open {
            match &self.vary {
                Some(line) if head.get(b"vary").is_none() => head.add_line(line)?,
                _ => vary(head)?,
            }
        }
        let Some(origin) = origin else { return Ok(()) };
        if !self.is_open {
            head.add(OWN[0].as_bytes(), origin)?;
        }
        self.always.iter().try_for_each(|line| head.add_line(line))
    }
}

fn is_own(name: &[u8]) -> bool {
    let is_like = name
        .get(..PREFIX.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(PREFIX.as_bytes()));
    is_like && OWN.iter().any(|own| own.as_bytes().eq_ignore_ascii_case(name))
}

/// Says that another origin may get other fields, beside what the server said of that.
fn vary(head: &mut Head) -> Result<(), FieldError> {
    let mut told = Vec::new();
    for name in head
        .get_all(b"vary")
        .flat_map(|value| value.split(|byte| *byte == b','))
    {
        let name = name.trim_ascii();
        if name == b"*" || name.eq_ignore_ascii_case(b"origin") {
            return Ok(());
        }
        if !name.is_empty() {
            told.extend_from_slice(name);
            told.extend_from_slice(b", ");
        }
    }
    told.extend_from_slice(b"Origin");
    head.set(b"vary", &told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vary_names_the_origin_once() {
        for (before, after) in [
            (vec![" "], "Origin"),
            (vec!["Accept"], "Accept, Origin"),
            (vec!["accept", "a, ,b"], "accept, a, b, Origin"),
            (vec!["ORIGIN, a"], "ORIGIN, a"),
            (vec!["*"], "*"),
        ] {
            let mut head = Head::empty();
            for value in &before {
                head.add(b"Vary", value.as_bytes()).unwrap();
            }
            vary(&mut head).unwrap();
            assert_eq!(head.get(b"vary"), Some(after.as_bytes()), "{before:?}");
        }
    }

    #[test]
    fn what_the_server_says_goes() {
        let mut action: CorsFields = serde_json::from_str(
            r#"{"origins": ["https://a.example"], "credentials": true, "expose": "x-a"}"#,
        )
        .unwrap();
        let mut head = Head::empty();
        head.set(b"Access-Control-Allow-Origin", b"*").unwrap();
        head.set(b"Access-Control-Max-Age", b"9").unwrap();
        action.prepare().unwrap();
        action.mark(&mut head, Some(b"https://a.example")).unwrap();
        let fields: Vec<_> = head.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        assert_eq!(
            fields,
            [
                b"vary".as_slice(),
                OWN[0].as_bytes(),
                OWN[1].as_bytes(),
                OWN[2].as_bytes()
            ]
        );
        action.mark(&mut head, None).unwrap();
        assert_eq!(head.iter().count(), 1);
    }
}
