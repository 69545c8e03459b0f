//! Properties over random and broken input: no panic, and no verdict that depends on how the bytes were cut.

use headgate_wire::{
    parse_request, parse_response, write_chunk_size, write_last_chunk, Authority, ChunkError, ChunkLimits,
    ChunkStep, ChunkedDecoder, Head, HeadLimits, Lenient, Parsed, RequestError, RequestHead,
};
use proptest::collection::vec;
use proptest::prelude::*;

const LIMITS: HeadLimits = HeadLimits {
    max_bytes: 300,
    max_fields: 8,
    lenient: Lenient::NONE,
};

/// Bytes that are often nearly a request.
fn nearly_request() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "GET / HTTP/1.1\r\nHost: h\r\n",
            "POST http://h/x HTTP/1.1\r\n",
            "GET / HTTP/1.0\r\n",
            "Host: h\r\n",
            "Content-Length: 3\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Connection: close, x\r\n",
            "X: y\r\n",
            "x: \r\n",
            "\r\n",
            "\r\n\r\n",
            "\n",
            "\r",
            " ",
            ":",
            "\0",
            "a",
            "HTTP/1.1",
            "Upgrade: z\r\n",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        vec(any::<u8>(), 0..3),
    ];
    vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn nearly_chunked() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "3\r\nabc\r\n",
            "0\r\n",
            "0\r\n\r\n",
            "1;a=b\r\n",
            "a\r\n",
            "\r\n",
            "x: y\r\n",
            "\n",
            "\r",
            "f",
            ";",
            " ",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        vec(any::<u8>(), 0..3),
    ];
    vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

type Verdict = Result<Option<(String, usize)>, RequestError>;

fn verdict(bytes: &[u8]) -> Verdict {
    Ok(match parse_request(bytes, LIMITS)? {
        Parsed::Partial => None,
        Parsed::Complete { head, len } => Some((format!("{head:?}"), len)),
    })
}

/// Parses as a connection would: the first cut that gives a verdict wins.
fn verdict_in_pieces(bytes: &[u8]) -> Verdict {
    for end in 0..bytes.len() {
        let found = verdict(&bytes[..end]);
        if found != Ok(None) {
            return found;
        }
    }
    verdict(bytes)
}

fn decode(input: &[u8], cuts: &[usize]) -> (Vec<u8>, Result<bool, ChunkError>, usize) {
    let limits = ChunkLimits {
        max_extension_bytes: 4,
        max_trailer_bytes: 12,
        is_from_server: false,
        lenient: Lenient::NONE,
    };
    let mut decoder = ChunkedDecoder::new(limits);
    let (mut data, mut at) = (Vec::new(), 0);
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (input.len() + 1)).collect();
    ends.push(input.len());
    ends.sort_unstable();
    for end in ends {
        while at < end {
            match decoder.step(&input[at..end]) {
                Ok(ChunkStep::Data { consumed_before, len }) => {
                    assert!(len > 0);
                    let start = at + consumed_before;
                    data.extend_from_slice(&input[start..start + len]);
                    at = start + len;
                }
                Ok(ChunkStep::NeedMore { consumed }) => at += consumed,
                Ok(ChunkStep::End { consumed }) => return (data, Ok(true), at + consumed),
                Err(error) => return (data, Err(error), 0),
            }
        }
    }
    (data, Ok(false), at)
}

fn write_request(request: &RequestHead) -> Vec<u8> {
    let mut out = [
        request.method(),
        b" ",
        request.target(),
        b" HTTP/1.1\r\nHost: ",
        request.host(),
        b"\r\n",
    ]
    .concat();
    request.head.write_fields(&mut out);
    out.extend_from_slice(b"\r\n");
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn a_request_gets_one_verdict_however_it_is_cut(bytes in nearly_request()) {
        prop_assert_eq!(verdict_in_pieces(&bytes), verdict(&bytes));
    }

    #[test]
    fn what_follows_a_head_does_not_change_it(bytes in nearly_request(), more in vec(any::<u8>(), 0..40)) {
        let alone = verdict(&bytes);
        if alone != Ok(None) {
            prop_assert_eq!(verdict(&[bytes, more].concat()), alone);
        }
    }

    #[test]
    fn a_response_gets_one_verdict_however_it_is_cut(bytes in nearly_request(), was_head in any::<bool>()) {
        let bytes = [b"HTTP/1.1 200 OK\r\n".to_vec(), bytes].concat();
        let verdict = |bytes: &[u8]| match parse_response(bytes, LIMITS, was_head) {
            Ok(Parsed::Partial) => None,
            Ok(Parsed::Complete { head, len }) => Some(Ok((format!("{head:?}"), len))),
            Err(error) => Some(Err(error)),
        };
        let in_pieces = (0..=bytes.len()).find_map(|end| verdict(&bytes[..end]));
        prop_assert_eq!(in_pieces, verdict(&bytes));
    }

    #[test]
    fn what_is_written_reads_the_same(bytes in nearly_request()) {
        if let Ok(Parsed::Complete { head, .. }) = parse_request(&bytes, LIMITS) {
            if !head.host().is_empty() && head.method() != b"CONNECT" {
                let written = write_request(&head);
                let Ok(Parsed::Complete { head: again, len }) = parse_request(&written, HeadLimits::default()) else {
                    return Err(TestCaseError::fail(written.escape_ascii().to_string()));
                };
                prop_assert_eq!(len, written.len());
                prop_assert!(again.head.iter().eq(head.head.iter()));
                prop_assert_eq!(again.target(), head.target());
            }
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..400)) {
        let _ = parse_request(&bytes, LIMITS);
        let _ = parse_response(&bytes, LIMITS, false);
        let _ = Authority::parse(&bytes);
        let _ = decode(&bytes, &[]);
    }

    #[test]
    fn an_authority_is_its_host_and_port(host in "[a-z0-9.-]{1,20}", port in any::<Option<u16>>()) {
        let text = port.map_or(host.clone(), |port| format!("{host}:{port}"));
        prop_assert_eq!(Authority::parse(text.as_bytes()), Some(Authority { host: host.as_bytes(), port }));
    }

    #[test]
    fn a_chunked_body_decodes_the_same_however_it_is_cut(bytes in nearly_chunked(), cuts in vec(any::<usize>(), 0..20)) {
        let whole = decode(&bytes, &[]);
        prop_assert_eq!(decode(&bytes, &cuts), whole.clone());
        let everywhere: Vec<usize> = (0..bytes.len()).collect();
        prop_assert_eq!(decode(&bytes, &everywhere), whole);
    }

    #[test]
    fn what_is_encoded_decodes_to_itself(
        chunks in vec(vec(any::<u8>(), 1..300), 0..8), cuts in vec(any::<usize>(), 0..20), with_trailer in any::<bool>(),
    ) {
        let mut body = Vec::new();
        for chunk in &chunks {
            write_chunk_size(chunk.len(), &mut body);
            body.extend_from_slice(chunk);
            body.extend_from_slice(b"\r\n");
        }
        let mut trailers = Head::empty();
        trailers.add(b"x", b"y").expect("a valid field");
        write_last_chunk(with_trailer.then_some(&trailers), &mut body);
        prop_assert_eq!(decode(&body, &cuts), (chunks.concat(), Ok(true), body.len()));
    }

    #[test]
    fn edits_are_what_a_plain_list_would_hold(edits in vec((0..3_u8, 0..4_usize, "[a-z]{0,5}"), 0..20)) {
        let names = ["X-A", "x-a", "B", "Content-Type"];
        let mut head = Head::empty();
        let mut list: Vec<(String, String)> = Vec::new();
        for (kind, name, value) in &edits {
            let name = names[*name];
            let is_same = |entry: &(String, String)| entry.0.eq_ignore_ascii_case(name);
            if *kind == 0 {
                head.remove(name.as_bytes());
                list.retain(|entry| !is_same(entry));
            } else if *kind == 1 {
                head.add(name.as_bytes(), value.as_bytes()).expect("a valid field");
                list.push((name.into(), value.clone()));
            } else {
                head.set(name.as_bytes(), value.as_bytes()).expect("a valid field");
                match list.iter().position(is_same) {
                    None => list.push((name.into(), value.clone())),
                    Some(first) => {
                        list[first] = (name.into(), value.clone());
                        let mut index = 0;
                        list.retain(|entry| {
                            index += 1;
                            index - 1 <= first || !is_same(entry)
                        });
                    }
                }
            }
        }
        let found: Vec<(String, String)> = head
            .iter()
            .map(|(name, value)| (String::from_utf8_lossy(name).into(), String::from_utf8_lossy(value).into()))
            .collect();
        prop_assert_eq!(&found, &list);
        let mut out = Vec::new();
        head.write_fields(&mut out);
        let lines: String = list.iter().flat_map(|(name, value)| [name, ": ", value, "\r\n"]).collect();
        prop_assert_eq!(out, lines.into_bytes());
    }
}
