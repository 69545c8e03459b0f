//! The formats of an access log line: `json`, `combined`, or the user's own text with `{field}` names.

use super::combined;
use super::entry::Entry;
use super::field::Field;
pub use super::format_error::FormatError;
use super::json;
use super::timestamp::Timestamps;

/// How a line is written. Made once; writing allocates nothing.
#[derive(Debug)]
pub struct Format {
    layout: Layout,
    times: Timestamps,
}

#[derive(Debug)]
enum Layout {
    Json,
    Combined,
    Text(Vec<Part>),
}

#[derive(Debug)]
enum Part {
    Literal(String),
    Field(Field),
}

impl Format {
    /// Reads `json`, `combined`, or text with names of fields in braces, such as `{client} {status} {total_us}`.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let layout = match text {
            "json" => Layout::Json,
            "combined" => Layout::Combined,
            _ => Layout::Text(parse_parts(text)?),
        };
        Ok(Self {
            layout,
            times: Timestamps::new(),
        })
    }

    /// Whether the field `hooks` is in it.
    pub fn shows_hooks(&self) -> bool {
        match &self.layout {
            Layout::Json => true,
            Layout::Combined => false,
            Layout::Text(parts) => parts.iter().any(|part| matches!(part, Part::Field(Field::Hooks))),
        }
    }

    /// Appends the line of one request with its line break; nothing in `entry` can add another.
    pub fn write(&self, entry: &Entry<'_>, line: &mut Vec<u8>) {
        match &self.layout {
            Layout::Json => json::write(entry, &self.times, line),
            Layout::Combined => combined::write(entry, &self.times, line),
            Layout::Text(parts) => {
                for part in parts {
                    match part {
                        Part::Literal(text) => line.extend_from_slice(text.as_bytes()),
                        Part::Field(field) => field.write(entry, &self.times, line),
                    }
                }
            }
        }
        line.push(b'\n');
    }
}

fn parse_parts(text: &str) -> Result<Vec<Part>, FormatError> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut characters = text.char_indices().peekable();
    while let Some((offset, character)) = characters.next() {
        match character {
            '{' | '}' if characters.next_if(|&(_, next)| next == character).is_some() => {
                literal.push(character);
            }
            '{' => {
                let rest = &text[offset + 1..];
                let length = rest.find(['{', '}']).filter(|&end| rest[end..].starts_with('}'));
                let name = &rest[..length.ok_or(FormatError::UnmatchedBrace { offset })?];
                push_literal(&mut parts, &mut literal);
                parts.push(Part::Field(Field::parse(name)?));
                while characters
                    .next_if(|&(at, _)| at <= offset + 1 + name.len())
                    .is_some()
                {}
            }
            '}' => return Err(FormatError::UnmatchedBrace { offset }),
            _ if character.is_control() => return Err(FormatError::ControlCharacter { offset }),
            _ => literal.push(character),
        }
    }
    push_literal(&mut parts, &mut literal);
    if parts.iter().any(|part| matches!(part, Part::Field(_))) {
        Ok(parts)
    } else {
        Err(FormatError::NoField {
            format: text.to_owned(),
        })
    }
}

fn push_literal(parts: &mut Vec<Part>, literal: &mut String) {
    if !literal.is_empty() {
        parts.push(Part::Literal(std::mem::take(literal)));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::access_log::{HookTime, Step, StepKind, Steps, TlsFacts};

    fn line(format: &str, entry: &Entry<'_>) -> String {
        let mut line = Vec::new();
        Format::parse(format)
            .expect("valid format")
            .write(entry, &mut line);
        String::from_utf8(line).expect("always UTF-8")
    }

    fn example() -> Entry<'static> {
        Entry {
            trace: ("abc", "def"),
            time_unix_ms: 971_186_136_123,
            client: "127.0.0.1",
            method: b"GET",
            target: b"/apache_pb.gif?x=\"1\"",
            host: b"example.com",
            version: "HTTP/1.1",
            tls: Some(TlsFacts {
                version: "TLSv1.3",
                cipher: "TLS13_AES_128_GCM_SHA256",
                server_name: "example.com",
                alpn: "http/1.1",
                is_resumed: true,
                client_certificate: "valid",
                client_subject: "CN=\"a\"",
            }),
            status: 200,
            request_bytes: 321,
            response_bytes: 2526,
            body_bytes: 2326,
            referer: None,
            user_agent: Some(b"Mozilla/4.08\nfake \xff"),
            request_id: "0123abcd",
            route: "api",
            upstream: "api",
            server: "10.0.0.1:9000",
            attempts: 2,
            queue_us: 1,
            connect_us: 2,
            head_us: 3,
            started_us: 0,
            total_us: 4,
            hook_us: 5,
            steps: None,
            hooks: &[],
            limit: "upstream_head",
            error: "",
        }
    }

    #[test]
    fn combined_is_what_log_readers_know() {
        assert_eq!(
            line("combined", &example()),
            "127.0.0.1 - - [10/Oct/2000:13:55:36 +0000] \"GET /apache_pb.gif?x=\\x221\\x22 HTTP/1.1\" 200 2326 \
             \"-\" \"Mozilla/4.08\\x0Afake \\xFF\"\n"
        );
        assert!(line(
            "combined",
            &Entry {
                status: 400,
                ..Entry::default()
            }
        )
        .contains("\"-\" 400 0"));
    }

    #[test]
    fn combined_is_what_its_parts_make() {
        for entry in [
            example(),
            Entry::default(),
            Entry {
                client: "::1",
                referer: Some(b"http://from.test/"),
                user_agent: Some(b""),
                ..example()
            },
        ] {
            assert_eq!(line("combined", &entry), line(super::combined::AS_TEXT, &entry));
        }
    }

    #[test]
    fn json_has_every_key() {
        let value: serde_json::Value = serde_json::from_str(&line("json", &example())).expect("valid JSON");
        let expected = serde_json::json!({
            "time": "2000-10-10T13:55:36.123Z", "client": "127.0.0.1", "method": "GET", "host": "example.com",
            "target": "/apache_pb.gif?x=\"1\"", "version": "HTTP/1.1", "status": 200, "request_bytes": 321,
            "response_bytes": 2526, "body_bytes": 2326, "referer": null, "user_agent": "Mozilla/4.08\nfake \u{fffd}",
            "request_id": "0123abcd", "trace_id": "abc", "span_id": "def", "route": "api", "upstream": "api", "server": "10.0.0.1:9000", "attempts": 2,
            "queue_us": 1, "connect_us": 2, "head_us": 3, "total_us": 4, "hook_us": 5, "steps": [], "hooks": [], "limit": "upstream_head",
            "error": "", "tls": {
                "version": "TLSv1.3", "cipher": "TLS13_AES_128_GCM_SHA256", "server_name": "example.com",
                "alpn": "http/1.1", "resumed": true, "client_certificate": "valid", "client_subject": "CN=\"a\"",
            },
        });
        assert_eq!(value, expected);
        let plain = line("json", &Entry::default());
        let value: serde_json::Value = serde_json::from_str(&plain).expect("valid JSON");
        assert_eq!(value["tls"], serde_json::Value::Null);
    }

    #[test]
    fn json_tells_when_each_step_and_hook_began() {
        let steps = Steps::default();
        let (kind, attempt) = (StepKind::Read, 0);
        steps.add(Step {
            kind,
            attempt,
            began_us: 990,
            us: 10,
        });
        let (kind, attempt) = (StepKind::Head, 1);
        steps.add(Step {
            kind,
            attempt,
            began_us: 1_030,
            us: 500,
        });
        let hooks = [HookTime {
            phase: "request_body",
            name: "gate.py:look".into(),
            us: 7,
            began_us: 1_002,
            ended_us: 1_020,
        }];
        let entry = Entry {
            started_us: 1_000,
            steps: Some(&steps),
            hooks: &hooks,
            ..example()
        };
        let value: serde_json::Value = serde_json::from_str(&line("json", &entry)).expect("valid JSON");
        let steps = serde_json::json!([
            {"step": "read", "attempt": 0, "begin_us": -10, "us": 10},
            {"step": "head", "attempt": 1, "begin_us": 30, "us": 500},
        ]);
        assert_eq!(value["steps"], steps);
        let hooks = serde_json::json!([
            {"phase": "request_body", "hook": "gate.py:look", "us": 7, "begin_us": 2, "end_us": 20},
        ]);
        assert_eq!(value["hooks"], hooks);
    }

    #[test]
    fn custom_text_mixes_fields_and_braces() {
        assert_eq!(
            line(
                "{tls_version} {tls_resumed} {client_certificate} {client_subject}",
                &example()
            ),
            "TLSv1.3 resumed valid CN=\\x22a\\x22\n"
        );
        assert_eq!(line("{tls_version} {tls_resumed}", &Entry::default()), "- -\n");
        let text = "{{{status}}} {time_unix} é {referer} {limit}{server}";
        assert_eq!(
            line(text, &example()),
            "{200} 971186136.123 é - upstream_head10.0.0.1:9000\n"
        );
    }

    #[test]
    fn unknown_names_are_refused_with_the_nearest() {
        let message = |text| Format::parse(text).expect_err("must be refused").to_string();
        assert_eq!(
            message("{client} {user-agent}"),
            "access log format has no field `user-agent`; hint: did you mean `user_agent`?"
        );
        assert!(message("{bananas_and_pears}").contains("hint: the fields are `time`, `time_common`,"));
        assert!(message("{}").contains("hint: the fields are"));
        assert_eq!(
            message("jsom"),
            "access log format `jsom` has no fields; hint: use `json`, `combined` or text with `{field}` names"
        );
    }

    #[test]
    fn malformed_text_is_refused() {
        let error = |text| Format::parse(text).expect_err("must be refused");
        assert_eq!(error("{status"), FormatError::UnmatchedBrace { offset: 0 });
        assert_eq!(error("a{status{host}"), FormatError::UnmatchedBrace { offset: 1 });
        assert_eq!(error("{status}}"), FormatError::UnmatchedBrace { offset: 8 });
        assert_eq!(
            error("{status}\n{host}"),
            FormatError::ControlCharacter { offset: 8 }
        );
    }

    proptest! {
        #[test]
        fn nothing_in_a_request_breaks_the_line(
            format in prop::sample::select(vec!["json", "combined", "{host} {error} {user_agent} {request}"]),
            bytes: Vec<u8>, text: String, time_unix_ms: u64,
        ) {
            let entry = Entry {
                time_unix_ms, client: &text, method: &bytes, target: &bytes, host: &bytes, referer: Some(&bytes),
                user_agent: Some(&bytes), request_id: &text, error: &text, route: &text, ..Entry::default()
            };
            let line = line(format, &entry);
            prop_assert_eq!(line.chars().filter(|character| character.is_control()).collect::<String>(), "\n");
            if format == "json" {
                let value: serde_json::Value = serde_json::from_str(&line).expect("valid JSON");
                prop_assert_eq!(value["error"].as_str(), Some(text.as_str()));
            }
        }

        #[test]
        fn no_format_panics(text in "[a-z{}\\n ]{0,30}") {
            let _ = Format::parse(&text);
        }
    }
}
