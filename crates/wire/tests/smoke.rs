//! Parses, edits and writes one head of each kind, as the gateway does.

use headgate_wire::{parse_request, parse_response, Framing, HeadLimits, Parsed};

#[test]
fn a_request_is_edited_and_written() {
    let bytes = b"POST /a/b?c=d HTTP/1.1\r\nHost: h:80\r\nConnection: keep-alive\r\nContent-Length: 3\r\nX-A:  1 \r\nAccept: */*\r\n\r\nabc";
    let Ok(Parsed::Complete { mut head, len }) = parse_request(bytes, HeadLimits::default()) else {
        panic!("complete and well formed");
    };
    assert_eq!(len, bytes.len() - 3);
    assert_eq!(
        (head.method(), head.path(), head.query(), head.host()),
        (&b"POST"[..], &b"/a/b"[..], &b"c=d"[..], &b"h:80"[..])
    );
    assert_eq!((head.framing, head.persistent), (Framing::Length(3), true));
    head.head.set(b"accept", b"text/html").expect("a valid field");
    head.head.add(b"X-B", b"2").expect("a valid field");
    let mut out = Vec::new();
    head.head.write_fields(&mut out);
    assert_eq!(out, b"X-A: 1\r\naccept: text/html\r\nX-B: 2\r\n");
    assert_eq!(out.len(), head.head.len_hint());
}

#[test]
fn a_response_is_written() {
    let bytes = b"HTTP/1.1 200 OK\r\nServer: x\r\nTransfer-Encoding: chunked\r\nDate: y\r\nEtag: z\r\n\r\n";
    let Ok(Parsed::Complete { head, len }) = parse_response(bytes, HeadLimits::default(), false) else {
        panic!("complete and well formed");
    };
    assert_eq!(
        (len, head.status, head.reason(), head.framing),
        (bytes.len(), 200, &b"OK"[..], Framing::Chunked)
    );
    let mut out = Vec::new();
    head.head.write_fields(&mut out);
    assert_eq!(out, b"Server: x\r\nDate: y\r\nEtag: z\r\n");
}
