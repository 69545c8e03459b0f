//! What spans say, read back as a collector reads it.

use std::collections::BTreeMap;

use super::*;
use crate::access_log::HookTime;
use crate::trace::batch::BatchHead;
use crate::trace::protobuf::{Fields, Value};
use crate::trace::request::FailedAttempt;

/// Texts and numbers, by the number of their field; attributes by their key.
#[derive(Debug, Default, PartialEq)]
struct Read {
    fields: BTreeMap<u64, Vec<u8>>,
    numbers: BTreeMap<u64, u64>,
    attributes: Vec<(String, String)>,
}

fn read(span: &[u8]) -> Read {
    let mut found = Read::default();
    for (field, value) in Fields(span) {
        match value {
            Value::Bytes(attribute) if field == u64::from(ATTRIBUTES) => {
                let mut parts = Fields(attribute);
                let (Some((1, Value::Bytes(key))), Some((2, Value::Bytes(value)))) =
                    (parts.next(), parts.next())
                else {
                    panic!("a key and a value: {attribute:?}");
                };
                let value = match Fields(value).next() {
                    Some((1, Value::Bytes(text))) => String::from_utf8(text.to_vec()).expect("UTF-8"),
                    Some((3, Value::Number(number))) => number.to_string(),
                    other => panic!("a value: {other:?}"),
                };
                let key = String::from_utf8(key.to_vec()).expect("UTF-8");
                found.attributes.push((key, value));
            }
            Value::Bytes(bytes) => {
                found.fields.insert(field, bytes.to_vec());
            }
            Value::Number(number) => {
                found.numbers.insert(field, number);
            }
        }
    }
    found
}

fn told(request: &Request<'_>) -> Vec<Read> {
    let mut out = Vec::new();
    request.write(&mut out);
    let spans: Vec<_> = Fields(&out)
        .map(|(field, span)| match span {
            Value::Bytes(span) if field == 2 => read(span),
            other => panic!("a span: {other:?}"),
        })
        .collect();
    assert_eq!(spans.len() as u64, request.count());
    spans
}

/// Of a status that says that the span has failed.
const ERROR: &[u8] = &[3 << 3, 2];

#[test]
fn a_request_its_attempts_and_its_hooks_are_spans_of_one_trace() {
    let failed = [FailedAttempt {
        number: 1,
        upstream: "app".to_owned(),
        server: "10.0.0.1:80".to_owned(),
        status: 503,
        error: "status",
        start_us: 1_100,
        end_us: 1_200,
    }];
    let hooks = [HookTime {
        phase: "request",
        name: "auth".into(),
        us: 5,
        began_us: 10,
        ended_us: 20,
    }];
    let mut request = Request {
        failed: &failed,
        hooks: &hooks,
        epoch_us: 1_000,
        status: 200,
        error: "",
        ..Request::example()
    };
    if let Some(last) = &mut request.last {
        (last.number, last.has_responded) = (2, true);
    }
    let spans = told(&request);
    let kinds: Vec<_> = spans.iter().map(|span| span.numbers[&6]).collect();
    assert_eq!(kinds, [SERVER, CLIENT, CLIENT, INTERNAL]);
    assert_eq!(spans[0].fields[&4], 5_u64.to_be_bytes());
    assert!(spans[1..]
        .iter()
        .all(|span| span.fields[&4] == spans[0].fields[&2]));
    assert!(spans.iter().all(|span| span.fields[&1] == spans[0].fields[&1]));
    let states: Vec<_> = spans
        .iter()
        .map(|span| span.fields.get(&15).map(Vec::as_slice))
        .collect();
    assert_eq!(states, [None, Some(ERROR), None, None]);
    let told = ("http.response.status_code".to_owned(), "503".to_owned());
    assert!(spans[1].attributes.contains(&told));
    assert_eq!(spans[2].numbers[&8], 4_000_000);
    assert_eq!(
        (spans[3].numbers[&7], spans[3].numbers[&8]),
        (1_010_000, 1_020_000)
    );
}

#[test]
fn an_error_of_the_server_is_one_and_that_of_a_client_is_not() {
    assert_eq!(told(&Request::example())[0].fields[&15], ERROR);
    let missing = Request {
        status: 404,
        error: "no_route",
        ..Request::example()
    };
    assert_eq!(told(&missing)[0].fields.get(&15), None);
}

#[test]
fn a_span_says_what_the_protocol_asks_for() {
    let span = &told(&Request::example())[0];
    assert_eq!(span.fields[&1], 0xabc_u128.to_be_bytes());
    assert_eq!(span.fields[&2], 0xdef_u64.to_be_bytes());
    assert_eq!(span.fields[&5], b"GET api");
    let numbers = [(6, SERVER), (7, 1_000_000), (8, 4_000_000), (16, 1)];
    assert_eq!(span.numbers, BTreeMap::from(numbers));
    let attributes = [
        ("http.request.method", "GET"),
        ("url.scheme", "http"),
        ("url.path", "/\u{fffd}\"\n<script>"),
        ("server.address", "gate.test"),
        ("client.address", "127.0.0.1"),
        ("http.route", "api"),
        ("headgate.request_id", "id"),
        ("http.response.status_code", "502"),
        ("error.type", "connect"),
    ];
    assert_eq!(
        span.attributes,
        attributes.map(|(key, value)| (key.to_owned(), value.to_owned()))
    );
}

#[test]
fn a_batch_is_one_message_however_long() {
    for count in [0, 1, 200] {
        let path = vec![b'/'; 20_000];
        let request = Request {
            path: &path,
            ..Request::example()
        };
        let head = BatchHead::new("gate");
        let mut batch = head.bytes.clone();
        for _ in 0..count {
            request.write(&mut batch);
        }
        head.finish(&mut batch);
        let message = |bytes, wanted| {
            let mut found = Fields(bytes).filter(|(field, _)| *field == wanted);
            match (found.next(), found.next()) {
                (Some((_, Value::Bytes(message))), None) => message,
                other => panic!("one message: {other:?}"),
            }
        };
        let resource_spans = message(batch.as_slice(), 1);
        assert!(Fields(message(resource_spans, 1)).count() == 1);
        let scope_spans = message(resource_spans, 2);
        let spans = Fields(scope_spans).filter(|(field, _)| *field == 2);
        assert_eq!(spans.count(), 2 * count);
        assert_eq!(
            Fields(message(scope_spans, 1)).next(),
            Some((1, Value::Bytes(b"headgate")))
        );
    }
}
