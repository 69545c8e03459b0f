//! What a response that is compressed says in its head; the body is a hook's.

use std::rc::Rc;

use headgate_wire::{FieldError, FieldLine, Head, ResponseHead};
use serde::Deserialize;

use super::accepted::chosen;
use super::edit::checked_line;
use super::objects::BadAction;
use crate::hooks::exchange::Exchange;
use crate::hooks::notes::{Name, Note, StateNote};

/// So many bytes of a Content-Type are looked at.
const LONGEST_TYPE: usize = 300;

/// Notes which of some codings the client wants, for [`CodedResponse`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WantedCoding {
    /// The first is preferred.
    codings: Vec<String>,
    /// Whether requests with cookies that other sites make want any.
    cross_site: bool,
    note: Name,
}

impl WantedCoding {
    pub(super) fn run(&self, exchange: &Exchange) -> bool {
        let Ok(wanted) = self.wanted(&exchange.request.borrow().head) else {
            return false;
        };
        exchange.notes.keep(&self.note.0, Note::Place(wanted));
        true
    }

    fn wanted(&self, head: &Head) -> Result<Option<usize>, ()> {
        let is_cross = || head.get(b"sec-fetch-site") == Some(b"cross-site");
        if !self.cross_site && is_cross() && head.get(b"cookie").is_some() {
            return Ok(None);
        }
        chosen(head, &self.codings)
    }
}

/// Decides whether the response is coded, says so in its head, and to the hook of its body by an attribute of
/// `request.state`, which then is the name of the coding.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CodedResponse {
    codings: Vec<Name>,
    /// Media types: `text/html`, `text/*`, or `*`.
    types: Vec<String>,
    /// The fewest bytes of a body whose length is told.
    min_length: u64,
    note: String,
    state: Name,
    #[serde(skip)]
    lines: Lines,
}

#[derive(Default)]
struct Lines {
    vary: Option<FieldLine>,
    codings: Vec<FieldLine>,
}

impl CodedResponse {
    pub(super) fn prepare(&mut self) -> Result<(), BadAction> {
        let codings = self.codings.iter();
        self.lines = Lines {
            vary: Some(checked_line("vary", "Accept-Encoding")?),
            codings: codings
                .map(|name| checked_line("content-encoding", &name.0))
                .collect::<Result<_, _>>()?,
        };
        Ok(())
    }

    pub(super) fn run(&self, exchange: &Exchange) -> bool {
        let wanted = exchange.notes.read(&self.note, |note| match note {
            Note::Place(wanted) => Some(*wanted),
            _ => None,
        });
        let mut response = exchange.response.borrow_mut();
        let (Some(wanted), Some(response)) = (wanted, response.as_mut()) else {
            return false;
        };
        let is_head = exchange.request.borrow().method() == b"HEAD";
        let Ok(coding) = self.coded(response, wanted, is_head) else {
            return false;
        };
        if let Some(coding) = coding {
            exchange.notes.say(StateNote {
                name: Rc::clone(&self.state.0),
                value: Rc::clone(&self.codings[coding].0),
                is_default: false,
            });
        }
        true
    }

    /// The coding that the body gets or would get, once the head says so. Asks the hook before it has changed anything.
    fn coded(
        &self,
        response: &mut ResponseHead,
        wanted: Option<usize>,
        is_head: bool,
    ) -> Result<Option<usize>, ()> {
        let wanted = wanted.filter(|place| *place < self.codings.len());
        if response.status == 304 {
            self.vary(&mut response.head)?;
            if wanted.is_some() {
                weaken(&mut response.head)?;
            }
            return Ok(None);
        }
        if !self.is_of_types(response.head.get(b"content-type").unwrap_or_default())? {
            return Ok(None);
        }
        let is_short = response
            .declared_length
            .is_some_and(|length| length < self.min_length);
        let coding = wanted.filter(|_| !is_short && may_be_coded(response));
        self.vary(&mut response.head)?;
        // without the body all that is known is that its length and its tag are not those of the plain one, which the
        // engine says where a hook wants the body
        if let Some(coding) = coding.filter(|_| !is_head) {
            let coded = response.head.set_line(&self.lines.codings[coding]);
            coded.map_err(drop)?;
            weaken(&mut response.head)?;
        }
        Ok(coding)
    }

    fn is_of_types(&self, content_type: &[u8]) -> Result<bool, ()> {
        let text = &content_type[..content_type.len().min(LONGEST_TYPE)];
        if !text.is_ascii() {
            return Err(());
        }
        let kind = text.split(|byte| *byte == b';').next().unwrap_or_default();
        let kind = kind.trim_ascii();
        let major = kind.split(|byte| *byte == b'/').next().unwrap_or_default();
        Ok(self.types.iter().any(|one| {
            let one = one.as_bytes();
            let of_all = |one: &[u8]| {
                one.strip_suffix(b"/*")
                    .is_some_and(|one| one.eq_ignore_ascii_case(major))
            };
            one == b"*" || one.eq_ignore_ascii_case(kind) || of_all(one)
        }))
    }

    /// Says that the response depends on what codings the client takes (RFC 9110 section 12.5.5).
    fn vary(&self, head: &mut Head) -> Result<(), ()> {
        let is_said =
            members(head, b"vary").any(|one| one == b"*" || one.eq_ignore_ascii_case(b"accept-encoding"));
        match &self.lines.vary {
            Some(line) if !is_said => head.add_line(line).map_err(drop),
            _ => Ok(()),
        }
    }
}

/// Whether there is a whole body that may be changed (RFC 9110 sections 7.7 and 15.3.7), and it has no coding.
fn may_be_coded(response: &ResponseHead) -> bool {
    let head = &response.head;
    !matches!(response.status, 204 | 206 | 304)
        && head.get(b"content-range").is_none()
        && members(head, b"content-encoding").all(|one| one.eq_ignore_ascii_case(b"identity"))
        && !head.get_all(b"cache-control").any(forbids)
}

fn forbids(line: &[u8]) -> bool {
    const WORD: &[u8] = b"no-transform";
    line.windows(WORD.len())
        .any(|part| part.eq_ignore_ascii_case(WORD))
}

fn members<'a>(head: &'a Head, name: &'static [u8]) -> impl Iterator<Item = &'a [u8]> {
    head.get_all(name)
        .flat_map(|line| line.split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
}

/// Another coding is another representation: its entity tag is none to compare byte by byte (RFC 9110 section 8.8.1).
fn weaken(head: &mut Head) -> Result<(), ()> {
    let Some(tag) = head.get(b"etag").filter(|tag| tag.starts_with(b"\"")) else {
        return Ok(());
    };
    let weak = [b"W/", tag].concat();
    let set: Result<(), FieldError> = head.set(b"etag", &weak);
    set.map_err(drop)
}

#[cfg(test)]
mod tests {
    use headgate_wire::{Framing, Span, Version};

    use super::*;

    fn action() -> CodedResponse {
        let mut action: CodedResponse = serde_json::from_str(
            r#"{"codings": ["gzip", "br"], "types": ["text/*", "application/json"], "min_length": 10, "note": "n",
                "state": "s"}"#,
        )
        .unwrap();
        action.prepare().unwrap();
        action
    }

    fn response(status: u16, fields: &[(&str, &str)], length: Option<u64>) -> ResponseHead {
        let mut head = Head::empty();
        for (name, value) in fields {
            head.add(name.as_bytes(), value.as_bytes()).unwrap();
        }
        ResponseHead {
            head,
            status,
            reason: Span { start: 0, len: 0 },
            version: Version::Http11,
            framing: Framing::None,
            persistent: true,
            upgrade: false,
            declared_length: length,
        }
    }

    fn told(response: &ResponseHead, name: &str) -> String {
        let values: Vec<_> = response.head.get_all(name.as_bytes()).collect();
        String::from_utf8(values.join(&b'|')).unwrap()
    }

    const TEXT: (&str, &str) = ("content-type", "Text/HTML; charset=utf-8");
    const TAG: (&str, &str) = ("ETag", "\"a\"");

    #[test]
    fn what_may_be_coded_is_and_says_so() {
        for (fields, length, vary, tag) in [
            (vec![TEXT, TAG], None, "Accept-Encoding", "W/\"a\""),
            (
                vec![TEXT, ("etag", "W/\"a\"")],
                Some(10),
                "Accept-Encoding",
                "W/\"a\"",
            ),
            (vec![TEXT, ("vary", "Origin, *")], None, "Origin, *", ""),
            (
                vec![TEXT, ("vary", "a"), ("vary", "b, accept-ENCODING")],
                None,
                "a|b, accept-ENCODING",
                "",
            ),
            (vec![TEXT, ("vary", "accept")], None, "accept|Accept-Encoding", ""),
            (
                vec![("content-type", "application/json"), TAG],
                None,
                "Accept-Encoding",
                "W/\"a\"",
            ),
            (
                vec![TEXT, ("content-encoding", "Identity")],
                None,
                "Accept-Encoding",
                "",
            ),
        ] {
            let mut response = response(200, &fields, length);
            assert_eq!(
                action().coded(&mut response, Some(1), false),
                Ok(Some(1)),
                "{fields:?}"
            );
            assert_eq!(told(&response, "content-encoding"), "br", "{fields:?}");
            assert_eq!(
                (&*told(&response, "vary"), &*told(&response, "etag")),
                (vary, tag),
                "{fields:?}"
            );
        }
    }

    #[test]
    fn what_may_not_be_coded_stays_as_it_is() {
        for (status, fields, length, is_varied) in [
            (200, vec![TEXT, TAG], Some(9), true),
            (200, vec![("content-type", "image/png"), TAG], None, false),
            (200, vec![TAG], None, false),
            (206, vec![TEXT, TAG], None, true),
            (200, vec![TEXT, TAG, ("content-range", "bytes 0-1/5")], None, true),
            (
                200,
                vec![TEXT, TAG, ("cache-control", "public, No-Transform")],
                None,
                true,
            ),
            (
                200,
                vec![
                    TEXT,
                    TAG,
                    ("content-encoding", "identity"),
                    ("content-encoding", "x"),
                ],
                None,
                true,
            ),
            (200, vec![TEXT, TAG, ("content-encoding", "")], None, true),
        ] {
            let mut response = response(status, &fields, length);
            let before = told(&response, "content-encoding");
            assert_eq!(
                action().coded(&mut response, Some(1), false),
                Ok(None),
                "{fields:?}"
            );
            assert_eq!(told(&response, "content-encoding"), before, "{fields:?}");
            assert_eq!(told(&response, "vary").is_empty(), !is_varied, "{fields:?}");
            assert_eq!(told(&response, "etag"), "\"a\"", "{fields:?}");
        }
        let mut unchanged = response(304, &[TAG], None);
        assert_eq!(action().coded(&mut unchanged, Some(1), false), Ok(None));
        assert_eq!(
            (&*told(&unchanged, "vary"), &*told(&unchanged, "etag")),
            ("Accept-Encoding", "W/\"a\"")
        );
    }

    #[test]
    fn who_takes_no_coding_learns_that_others_might() {
        for (wanted, is_head) in [(None, false), (Some(0), true)] {
            let mut response = response(200, &[("content-type", "text/html"), ("etag", "\"a\"")], None);
            assert_eq!(action().coded(&mut response, wanted, is_head), Ok(wanted));
            assert_eq!(told(&response, "vary"), "Accept-Encoding");
            assert_eq!(told(&response, "etag"), "\"a\"");
            assert_eq!(told(&response, "content-encoding"), "");
        }
        let mut unchanged = response(304, &[("etag", "\"a\"")], None);
        assert_eq!(action().coded(&mut unchanged, None, false), Ok(None));
        assert_eq!(told(&unchanged, "etag"), "\"a\"");
    }

    #[test]
    fn other_sites_get_it_plain_with_cookies() {
        let wanted = |cross_site: bool, fields: &[&str]| {
            let text = format!(r#"{{"codings": ["gzip"], "cross_site": {cross_site}, "note": "n"}}"#);
            let action: WantedCoding = serde_json::from_str(&text).unwrap();
            let mut head = Head::empty();
            for field in fields {
                let (name, value) = field.split_once(": ").unwrap();
                head.add(name.as_bytes(), value.as_bytes()).unwrap();
            }
            action.wanted(&head)
        };
        let gzip = "accept-encoding: gzip";
        let (cross, cookie) = ("sec-fetch-site: cross-site", "cookie: a=b");
        assert_eq!(wanted(false, &[gzip, cross, cookie]), Ok(None));
        assert_eq!(wanted(true, &[gzip, cross, cookie]), Ok(Some(0)));
        assert_eq!(wanted(false, &[gzip, cross]), Ok(Some(0)));
        assert_eq!(
            wanted(false, &[gzip, "sec-fetch-site: same-site", cookie]),
            Ok(Some(0))
        );
    }
}
