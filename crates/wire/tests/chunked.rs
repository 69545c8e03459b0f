//! Chunked bodies: what is data, what is refused, which trailers go on.

use headgate_wire::HeadError;
use headgate_wire::{
    write_chunk_size, write_last_chunk, ChunkError, ChunkLimits, ChunkStep, ChunkedDecoder, Head, Lenient,
};

const LIMITS: ChunkLimits = ChunkLimits {
    max_extension_bytes: 20,
    max_trailer_bytes: 200,
    is_from_server: false,
    lenient: Lenient::NONE,
};

/// Data, bytes used and trailers of a body that must end in `input`.
fn decode(input: &[u8]) -> Result<(Vec<u8>, usize, Option<Head>), ChunkError> {
    let mut decoder = ChunkedDecoder::new(LIMITS);
    let (mut data, mut at) = (Vec::new(), 0);
    loop {
        match decoder.step(&input[at..])? {
            ChunkStep::Data { consumed_before, len } => {
                let start = at + consumed_before;
                data.extend_from_slice(&input[start..start + len]);
                at = start + len;
            }
            ChunkStep::End { consumed } => {
                assert!(decoder.is_done());
                return Ok((data, at + consumed, decoder.take_trailers()));
            }
            ChunkStep::NeedMore { consumed } => {
                assert_eq!(at + consumed, input.len());
                panic!("the body ends in the input: {}", input.escape_ascii());
            }
        }
    }
}

#[test]
fn chunks_are_joined_and_what_follows_is_left() {
    let (data, used, trailers) =
        decode(b"3\r\nabc\r\n0a;x=\"y\"\r\n0123456789\r\n000\r\n\r\nGET").expect("well formed");
    assert_eq!((data.as_slice(), used), (&b"abc0123456789"[..], 37));
    assert!(trailers.is_none());
}

#[test]
fn malformed_chunks_are_refused() {
    use ChunkError::{Extension, ExtensionsTooLarge, LineEnd, Size};
    let cases: [(&str, ChunkError); 22] = [
        ("\r\n", Size),
        ("x\r\n", Size),
        ("+1\r\n", Size),
        ("-1\r\n", Size),
        (" 1\r\n", Size),
        ("1 \r\n", Size),
        ("1\t;a\r\n", Size),
        ("0x1\r\n", Size),
        ("1_0\r\n", Size),
        ("1\n", Size),
        (";a\r\n", Size),
        ("10000000000000000\r\n", Size),
        ("1;a\n", Extension),
        ("1;a\0\r\n", Extension),
        ("1;a\r\r\n", LineEnd),
        ("1\ra", LineEnd),
        ("1;aaaaaaaaaaaaaaaaaaaaaaaa\r\n", ExtensionsTooLarge),
        ("1\r\nab", LineEnd),
        ("1\r\na\n", LineEnd),
        ("1\r\na\rb", LineEnd),
        ("0\r\na: b\n\r\n", LineEnd),
        ("0\r\n\n", LineEnd),
    ];
    for (input, error) in cases {
        assert_eq!(
            decode(input.as_bytes()).err(),
            Some(error),
            "{}",
            input.escape_debug()
        );
    }
}

#[test]
fn an_error_is_final() {
    let mut decoder = ChunkedDecoder::new(LIMITS);
    assert_eq!(decoder.step(b"x"), Err(ChunkError::Size));
    assert_eq!(decoder.step(b"0\r\n\r\n"), Err(ChunkError::Size));
    assert!(!decoder.is_done());
}

#[test]
fn nothing_is_used_after_the_end() {
    let mut decoder = ChunkedDecoder::new(LIMITS);
    assert_eq!(decoder.step(b"0\r\n\r\n"), Ok(ChunkStep::End { consumed: 5 }));
    assert_eq!(decoder.step(b"1\r\n"), Ok(ChunkStep::End { consumed: 0 }));
}

#[test]
fn the_largest_size_is_data_and_does_not_overflow() {
    let mut decoder = ChunkedDecoder::new(LIMITS);
    assert_eq!(
        decoder.step(b"ffffffffffffffff\r\nab"),
        Ok(ChunkStep::Data {
            consumed_before: 18,
            len: 2
        })
    );
    assert_eq!(
        decoder.step(b"c"),
        Ok(ChunkStep::Data {
            consumed_before: 0,
            len: 1
        })
    );
}

#[test]
fn zeros_before_a_size_are_bounded_as_extensions_are() {
    let body = |zeros: usize| [&b"0".repeat(zeros)[..], b"3\r\nabc\r\n0\r\n\r\n"].concat();
    assert_eq!(decode(&body(20)).expect("well formed").0, b"abc");
    assert_eq!(decode(&body(40)).err(), Some(ChunkError::ExtensionsTooLarge));
}

#[test]
fn extensions_are_bounded_over_the_body_and_data_pays_for_them() {
    let chunk = b"1;abcdefgh\r\nx\r\n";
    let mut body = chunk.repeat(3);
    body.extend_from_slice(b"0\r\n\r\n");
    assert_eq!(decode(&body).err(), Some(ChunkError::ExtensionsTooLarge));
    let mut body = b"8;abcdefg\r\n01234567\r\n".repeat(100);
    body.extend_from_slice(b"0\r\n\r\n");
    assert_eq!(decode(&body).expect("well formed").0.len(), 800);
}

#[test]
fn trailers_go_on_but_for_those_that_would_change_a_decision() {
    let (_, used, trailers) = decode(
        b"0\r\nX-Sum: 1\r\nContent-Length: 5\r\nHost: h\r\nAuthorization: a\r\nSet-Cookie: c\r\nX-Forwarded-For: f\r\n\
          Content-Type: t\r\nTransfer-Encoding: chunked\r\nX.Forwarded.For: f\r\nServer-Timing: 2\r\n\r\n",
    )
    .expect("well formed");
    let mut out = Vec::new();
    write_last_chunk(trailers.as_ref(), &mut out);
    assert_eq!(out, b"0\r\nX-Sum: 1\r\nServer-Timing: 2\r\n\r\n");
    assert!(used > out.len());
    assert!(decode(b"0\r\nHost: h\r\n\r\n").expect("well formed").2.is_none());
}

#[test]
fn malformed_and_endless_trailers_are_refused() {
    let error = |text: &str| decode(format!("0\r\n{text}").as_bytes()).err();
    assert_eq!(
        error("a : b\r\n\r\n"),
        Some(ChunkError::Trailer(HeadError::SpaceBeforeColon))
    );
    assert_eq!(
        error("a: b\r\n c\r\n\r\n"),
        Some(ChunkError::Trailer(HeadError::Folded))
    );
    assert_eq!(
        error("a: b\rc\r\n\r\n"),
        Some(ChunkError::Trailer(HeadError::BareCr))
    );
    assert_eq!(error(&"a".repeat(300)), Some(ChunkError::TrailersTooLarge));
}

#[test]
fn sizes_are_written_in_hex() {
    for (len, text) in [
        (1, "1\r\n"),
        (15, "f\r\n"),
        (16, "10\r\n"),
        (26, "1a\r\n"),
        (0x1_0000, "10000\r\n"),
        (usize::MAX, "ffffffffffffffff\r\n"),
    ] {
        let mut out = Vec::new();
        write_chunk_size(len, &mut out);
        assert_eq!(out, text.as_bytes());
    }
}
