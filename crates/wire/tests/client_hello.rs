//! `ClientHello` messages: what is read of them over record boundaries, and what is refused.

use headgate_wire::{parse_client_hello, ClientHello, ClientHelloError, Parsed};
use proptest::collection::vec;
use proptest::prelude::*;

const MAX_BYTES: usize = 16_384;

fn vector16(content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("short");
    [&length.to_be_bytes()[..], content].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vector16(content)].concat()
}

fn server_name(name: &[u8]) -> Vec<u8> {
    extension(0, &vector16(&[&[0][..], &vector16(name)].concat()))
}

fn alpn(names: &[&[u8]]) -> Vec<u8> {
    let list: Vec<u8> = names
        .iter()
        .flat_map(|name| [&[u8::try_from(name.len()).expect("short")][..], name].concat())
        .collect();
    extension(16, &vector16(&list))
}

/// A handshake message with these extensions.
fn message(extensions: &[Vec<u8>]) -> Vec<u8> {
    let mut body = [&[3, 3][..], &[7; 32], &[0]].concat();
    body.extend(vector16(&[0x13, 0x01, 0x0a, 0x0a]));
    body.extend([1, 0]);
    body.extend(vector16(&extensions.concat()));
    let length = u32::try_from(body.len()).expect("short").to_be_bytes();
    [&[1][..], &length[1..], &body].concat()
}

/// The message in records of `size` bytes.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    message
        .chunks(size)
        .flat_map(|part| [&[22, 3, 1][..], &vector16(part)].concat())
        .collect()
}

fn read(bytes: &[u8]) -> Result<Option<(ClientHello, usize)>, ClientHelloError> {
    match parse_client_hello(bytes, MAX_BYTES)? {
        Parsed::Partial => Ok(None),
        Parsed::Complete { head, len } => Ok(Some((head, len))),
    }
}

fn typical() -> Vec<u8> {
    message(&[
        server_name(b"Www.Example.com"),
        extension(43, &[4, 0x03, 0x04, 0x03, 0x03]),
        alpn(&[b"h2", b"http/1.1"]),
        extension(0x0a0a, b""),
    ])
}

fn refused(extensions: &[Vec<u8>]) -> ClientHelloError {
    read(&records(&message(extensions), 16_384)).expect_err("malformed")
}

#[test]
fn name_protocols_and_versions_are_read() {
    let bytes = records(&typical(), 16_384);
    let (hello, len) = read(&bytes).expect("accepted").expect("complete");
    assert_eq!(hello.server_name.as_deref(), Some("www.example.com"));
    assert_eq!(hello.alpn, [b"h2".to_vec(), b"http/1.1".to_vec()]);
    assert_eq!(hello.versions, [0x0304, 0x0303]);
    assert_eq!(hello.cipher_suites, [0x1301, 0x0a0a]);
    assert_eq!(len, bytes.len());
}

#[test]
fn hello_without_extensions_is_read() {
    let mut body = [&[3, 1][..], &[7; 32], &[0]].concat();
    body.extend(vector16(&[0, 0x2f]));
    body.extend([1, 0]);
    let length = u32::try_from(body.len()).expect("short").to_be_bytes();
    let bytes = records(&[&[1][..], &length[1..], &body].concat(), 16_384);
    let (hello, _) = read(&bytes).expect("accepted").expect("complete");
    assert_eq!((hello.server_name, hello.versions), (None, vec![0x0301]));
}

#[test]
fn message_cut_over_records_reads_the_same() {
    let whole = read(&records(&typical(), 16_384))
        .expect("accepted")
        .expect("complete")
        .0;
    for size in [10, 33, 64, 100] {
        let bytes = records(&typical(), size);
        assert_eq!(
            read(&bytes).expect("accepted").expect("complete"),
            (whole.clone(), bytes.len())
        );
    }
    assert_eq!(
        read(&records(&typical(), 1)),
        Err(ClientHelloError::Malformed),
        "more records than anybody needs"
    );
}

#[test]
fn plain_text_is_known_at_its_first_byte() {
    assert_eq!(read(b"G"), Err(ClientHelloError::NotTls));
    assert_eq!(read(&[22, 2]), Err(ClientHelloError::NotTls));
    assert_eq!(
        read(&[22, 3, 1, 0, 1, 2]),
        Err(ClientHelloError::NotTls),
        "a ServerHello"
    );
}

#[test]
fn long_message_is_refused_before_it_is_there() {
    assert_eq!(
        read(&[22, 3, 1, 0x40, 0, 1, 0, 0x40, 0]),
        Err(ClientHelloError::TooLarge)
    );
    assert_eq!(
        read(&[22, 3, 1, 0x40, 1]),
        Err(ClientHelloError::Malformed),
        "a record beyond 16 KB"
    );
    assert_eq!(
        read(&[22, 3, 1, 0, 0]),
        Err(ClientHelloError::Malformed),
        "an empty record"
    );
}

#[test]
fn malformed_extensions_are_refused() {
    let twice = [server_name(b"a"), server_name(b"a")];
    assert_eq!(refused(&twice), ClientHelloError::Malformed);
    assert_eq!(
        refused(&[extension(0, &[0, 9, 0, 0, 1, b'a'])]),
        ClientHelloError::Malformed
    );
    assert_eq!(refused(&[alpn(&[b""])]), ClientHelloError::Malformed);
    assert_eq!(refused(&[extension(16, &[0, 0])]), ClientHelloError::Malformed);
    assert_eq!(
        refused(&[extension(43, &[3, 3, 4, 3])]),
        ClientHelloError::Malformed
    );
    for name in [&b""[..], b"a b", b"a\0b", b"[::1]", b".a", &[0xff], &[b'a'; 254]] {
        assert_eq!(
            refused(&[server_name(name)]),
            ClientHelloError::ServerName,
            "{name:?}"
        );
    }
}

#[test]
fn trailing_dot_is_dropped() {
    let bytes = records(&message(&[server_name(b"a.example.")]), 16_384);
    let (hello, _) = read(&bytes).expect("accepted").expect("complete");
    assert_eq!(hello.server_name.as_deref(), Some("a.example"));
}

proptest! {
    #[test]
    fn verdict_does_not_depend_on_the_cut(size in 10_usize..200, changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..3)) {
        let mut bytes = records(&typical(), size);
        for (index, value) in changes {
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        let whole = read(&bytes);
        for end in 0..bytes.len() {
            match read(&bytes[..end]) {
                Ok(None) => {}
                early => prop_assert_eq!(early, whole.clone()),
            }
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes);
        let _ = read(&[&[22, 3, 1, 0, 200, 1, 0, 0, 190][..], &bytes].concat());
    }
}
