//! The cases of aws/http-desync-guardian: each is refused, sent on, or sent on with new framing, as
//! `tests/data/desync/verdicts.json` says (its README tells how the bytes are made).

use std::collections::HashMap;
use std::path::PathBuf;

use headgate_wire::{parse_request, Framing, Head, HeadLimits, Parsed, RequestError, RequestHead, Version};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    name: String,
    uri: String,
    method: String,
    version: String,
    headers: Option<Vec<Header>>,
    expected: Expected,
}

#[derive(Deserialize)]
struct Header {
    name: String,
    value: Value,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Value {
    Number(u64),
    Text(String),
}

#[derive(Deserialize)]
struct Expected {
    tier: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Verdict {
    file: String,
    index: usize,
    name: String,
    tier: String,
    #[serde(rename = "verdict")]
    outcome: String,
    status: Option<u16>,
    error: Option<String>,
    reason: String,
}

impl Value {
    fn text(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

impl Case {
    fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{} {} {}\r\n", self.method, self.uri, self.version);
        let headers = self.headers.as_deref().unwrap_or_default();
        if !headers
            .iter()
            .any(|header| header.name.eq_ignore_ascii_case("host"))
        {
            text.push_str("Host: localhost\r\n");
        }
        for header in headers {
            text.extend([header.name.as_str(), ": ", &header.value.text(), "\r\n"]);
        }
        text.push_str("\r\n");
        text.into_bytes()
    }
}

/// What a request goes on as: the head the gateway would write, read again by a strict reader.
fn sent_on(request: &RequestHead) -> RequestHead {
    let mut out = Vec::new();
    for part in [
        request.method(),
        b" ",
        request.target(),
        b" HTTP/1.1\r\nHost: ",
        request.host(),
        b"\r\n",
    ] {
        out.extend_from_slice(part);
    }
    match request.framing {
        Framing::Length(length) => out.extend_from_slice(format!("content-length: {length}\r\n").as_bytes()),
        Framing::Chunked => request.head.write_transfer_encoding(&mut out),
        Framing::None => {}
        Framing::UntilClose => panic!("a request never ends with its connection"),
    }
    request.head.write_fields(&mut out);
    out.extend_from_slice(b"\r\n");
    match parse_request(&out, HeadLimits::default()) {
        Ok(Parsed::Complete { head, len }) if len == out.len() => head,
        other => panic!("what goes on is well formed, not {other:?}"),
    }
}

fn fields(head: &Head) -> Vec<(Vec<u8>, Vec<u8>)> {
    head.iter()
        .map(|(name, value)| (name.to_vec(), value.to_vec()))
        .collect()
}

fn assert_passes_unchanged(request: &RequestHead) {
    let again = sent_on(request);
    assert_eq!(again.method(), request.method());
    assert_eq!(again.target(), request.target());
    assert_eq!(again.host(), request.host());
    assert_eq!(again.framing, request.framing);
    assert_eq!(fields(&again.head), fields(&request.head));
}

fn judge(case: &Case) -> Result<RequestHead, RequestError> {
    let bytes = case.bytes();
    match parse_request(&bytes, HeadLimits::default())? {
        Parsed::Complete { head, len } => {
            assert_eq!(
                len,
                bytes.len(),
                "{}: the head ends before the case does",
                case.name
            );
            Ok(head)
        }
        Parsed::Partial => panic!("{}: no verdict on a whole request", case.name),
    }
}

#[test]
fn every_case_gets_its_verdict() {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/desync");
    let read = |file: &str| std::fs::read_to_string(data.join(file)).expect("vendored in the repository");
    let verdicts: Vec<Verdict> = serde_json::from_str(&read("verdicts.json")).expect("well-formed verdicts");
    assert_eq!(verdicts.len(), 158);
    let mut files: HashMap<String, Vec<Case>> = HashMap::new();
    let mut wrong = Vec::new();
    for verdict in &verdicts {
        let cases = files.entry(verdict.file.clone()).or_insert_with(|| {
            serde_yaml_ng::from_str(&read(&verdict.file)).expect("the vendored file is well formed")
        });
        let case = &cases[verdict.index];
        assert_eq!(
            (&case.name, case.expected.tier.to_lowercase()),
            (&verdict.name, verdict.tier.clone())
        );
        assert!(!verdict.reason.is_empty());
        let judged = judge(case);
        match (&judged, verdict.outcome.as_str()) {
            (Ok(request), "pass" | "normalise") => {
                assert_passes_unchanged(request);
                assert_eq!(
                    request.version,
                    Version::Http11,
                    "no case of an older version is sent on"
                );
                assert_eq!((verdict.status, &verdict.error), (None, &None));
            }
            (Err(error), "refuse")
                if Some(error.status()) == verdict.status
                    && Some(error.reason()) == verdict.error.as_deref() => {}
            _ => wrong.push(format!(
                "{}[{}] {:?} ({}): want {} {:?} {:?}, got {:?}",
                verdict.file,
                verdict.index,
                verdict.name,
                verdict.tier,
                verdict.outcome,
                verdict.status,
                verdict.error,
                judged
                    .as_ref()
                    .map(|request| request.framing)
                    .map_err(|error| (error.status(), error.reason())),
            )),
        }
    }
    assert_eq!(
        files.values().map(Vec::len).sum::<usize>(),
        verdicts.len(),
        "every case has a verdict"
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
