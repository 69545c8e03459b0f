//! Nanoseconds to parse and to write on a request head of ten fields, and to decode a chunk.
//! Run with `cargo bench -p headgate-wire`; the figure is the fastest of several rounds.

use std::hint::black_box;
use std::time::Instant;

use headgate_wire::{parse_request, ChunkLimits, ChunkedDecoder, HeadLimits, Parsed};

const REQUEST: &[u8] = b"GET /api/v1/items/1234?page=2&sort=name HTTP/1.1\r\n\
    Host: www.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-US,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br\r\n\
    Referer: https://www.example.com/items\r\n\
    Connection: keep-alive\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    Cache-Control: max-age=0\r\n\r\n";

const ROUNDS: usize = 20;
const REPEATS: u32 = 20_000;

fn main() {
    let parse = || match parse_request(black_box(REQUEST), HeadLimits::default()) {
        Ok(Parsed::Complete { head, .. }) => head,
        other => panic!("complete and well formed, not {other:?}"),
    };
    let head = parse();
    let mut out = Vec::with_capacity(4096);
    report("parse a request head of 10 fields", || drop(black_box(parse())));
    report("write its fields on", || {
        out.clear();
        black_box(&head.head).write_fields(&mut out);
    });
    report("find the last of its fields", || {
        black_box(black_box(&head.head).get(b"cache-control"));
    });
    report("decode one chunk", || {
        let mut decoder = ChunkedDecoder::new(ChunkLimits::default());
        black_box(decoder.step(black_box(b"5\r\nhello\r\n"))).expect("a well-formed chunk");
    });
}

fn report(what: &str, mut run: impl FnMut()) {
    let fastest = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            (0..REPEATS).for_each(|_| run());
            start.elapsed()
        })
        .min()
        .expect("there is a round");
    println!("{what}: {} ns", (fastest / REPEATS).as_nanos());
}
