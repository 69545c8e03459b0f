//! PROXY headers: what is read, what is refused, and that what is written reads the same.

use std::net::SocketAddr;

use headgate_wire::{
    parse_proxy, write_proxy_v1, write_proxy_v2, Parsed, ProxyAddresses, ProxyError, ProxyHeader, ProxySsl,
    ProxyTlvs, ProxyVersions,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

const MAX_BYTES: usize = 4096;
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn read(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, ProxyError> {
    match parse_proxy(bytes, ProxyVersions::Any, MAX_BYTES)? {
        Parsed::Partial => Ok(None),
        Parsed::Complete { head, len } => Ok(Some((head, len))),
    }
}

fn addresses(bytes: &[u8]) -> ProxyAddresses {
    read(bytes).expect("accepted").expect("complete").0.addresses
}

fn ip(source: &str, destination: &str) -> ProxyAddresses {
    ProxyAddresses::Ip {
        source: source.parse().expect("an address"),
        destination: destination.parse().expect("an address"),
    }
}

#[test]
fn lines_of_version_1_are_read() {
    let line = b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\nGET / HTTP/1.1\r\n";
    let (header, len) = read(line).expect("accepted").expect("complete");
    assert_eq!((header.version, len), (1, 42));
    assert_eq!(header.addresses, ip("192.0.2.1:56324", "192.0.2.2:443"));
    assert_eq!(
        addresses(b"PROXY TCP6 2001:db8::1 ::1 1 65535\r\n"),
        ip("[2001:db8::1]:1", "[::1]:65535")
    );
    for unknown in ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN ffff::1 anything 1 2 3\r\n"] {
        assert_eq!(addresses(unknown.as_bytes()), ProxyAddresses::Unknown);
    }
}

#[test]
fn malformed_lines_are_refused() {
    for line in [
        "PROXY\r\n",
        "PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
        "PROXY TCP4 1.2.3.04 1.2.3.4 1 2\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
        "PROXY tcp4 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\rX",
        "proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
        "GET / HTTP/1.1\r\n",
    ] {
        assert!(read(line.as_bytes()).is_err(), "{line:?}");
    }
    let long = format!("PROXY UNKNOWN {}", "x".repeat(200));
    assert_eq!(read(long.as_bytes()), Err(ProxyError::TooLarge));
}

#[test]
fn only_the_wanted_version_is_accepted() {
    let mut second = Vec::new();
    write_proxy_v2(None, false, &ProxyTlvs::default(), false, &mut second);
    let first = b"PROXY UNKNOWN\r\n";
    let verdict = |bytes: &[u8], versions| parse_proxy(bytes, versions, MAX_BYTES).map(|_| ());
    assert_eq!(verdict(first, ProxyVersions::V1), Ok(()));
    assert_eq!(verdict(first, ProxyVersions::V2), Err(ProxyError::Missing));
    assert_eq!(verdict(&second, ProxyVersions::V2), Ok(()));
    assert_eq!(verdict(&second, ProxyVersions::V1), Err(ProxyError::Missing));
}

#[test]
fn header_of_the_specification_is_read() {
    // AF_INET, STREAM, 12 bytes of addresses: section 2.2
    let bytes = [
        SIGNATURE,
        &[
            0x21, 0x11, 0, 12, 192, 0, 2, 1, 198, 51, 100, 7, 0xdc, 0x04, 0x01, 0xbb,
        ],
    ]
    .concat();
    assert_eq!(addresses(&bytes), ip("192.0.2.1:56324", "198.51.100.7:443"));
}

#[test]
fn local_command_is_accepted_whatever_it_holds() {
    let bytes = [SIGNATURE, &[0x20, 0xff, 0, 3, 9, 9, 9]].concat();
    let (header, len) = read(&bytes).expect("accepted").expect("complete");
    assert!(header.is_local);
    assert_eq!((header.addresses, len), (ProxyAddresses::Unknown, bytes.len()));
}

#[test]
fn unix_addresses_lose_their_padding() {
    let mut bytes = [SIGNATURE, &[0x21, 0x31, 0, 216]].concat();
    let mut paths = [0; 216];
    paths[108..113].copy_from_slice(b"/a/b\x01");
    bytes.extend_from_slice(&paths);
    let unix = ProxyAddresses::Unix {
        source: Vec::new(),
        destination: b"/a/b\x01".to_vec(),
    };
    assert_eq!(addresses(&bytes), unix);
}

#[test]
fn malformed_binary_headers_are_refused() {
    let cases: [(&[u8], ProxyError); 7] = [
        (&[0x11, 0x11, 0, 12], ProxyError::Unsupported),
        (&[0x22, 0x11, 0, 12], ProxyError::Unsupported),
        (&[0x21, 0x41, 0, 0], ProxyError::Unsupported),
        (&[0x21, 0x11, 0, 4, 1, 2, 3, 4], ProxyError::Short),
        (&[0x21, 0x11, 0xff, 0xff], ProxyError::TooLarge),
        (&[0x21, 0x00, 0, 2, 1, 0], ProxyError::Tlv),
        (&[0x21, 0x00, 0, 7, 3, 0, 4, 0, 0, 0, 0], ProxyError::Checksum),
    ];
    for (rest, error) in cases {
        assert_eq!(read(&[SIGNATURE, rest].concat()), Err(error), "{rest:?}");
    }
    let unique_id = [&[0x21, 0, 0, 132, 5, 0, 129][..], &[7; 129]].concat();
    assert_eq!(
        read(&[SIGNATURE, &unique_id].concat()),
        Err(ProxyError::Tlv),
        "at most 128 bytes"
    );
}

#[test]
fn changed_byte_breaks_the_checksum() {
    let mut bytes = Vec::new();
    let pair = (
        "1.2.3.4:5".parse().expect("one"),
        "6.7.8.9:10".parse().expect("one"),
    );
    assert!(write_proxy_v2(
        Some(pair),
        false,
        &ProxyTlvs::default(),
        true,
        &mut bytes
    ));
    assert!(read(&bytes).is_ok());
    bytes[17] ^= 1;
    assert_eq!(read(&bytes), Err(ProxyError::Checksum));
}

#[test]
fn values_that_do_not_fit_write_nothing() {
    let tlvs = ProxyTlvs {
        other: vec![(0xe0, vec![0; 60_000]), (0xe1, vec![0; 6_000])],
        ..ProxyTlvs::default()
    };
    let pair = (
        "1.2.3.4:5".parse().expect("one"),
        "6.7.8.9:10".parse().expect("one"),
    );
    let mut out = b"kept".to_vec();
    assert!(!write_proxy_v2(Some(pair), false, &tlvs, true, &mut out));
    assert_eq!(out, b"kept");
}

fn some_bytes() -> impl Strategy<Value = Option<Vec<u8>>> {
    option::of(vec(any::<u8>(), 0..40))
}

fn some_tlvs() -> impl Strategy<Value = ProxyTlvs> {
    let ssl = (
        any::<[bool; 3]>(),
        any::<u32>(),
        some_bytes(),
        some_bytes(),
        some_bytes(),
    )
        .prop_map(|(flags, verify, version, common_name, cipher)| ProxySsl {
            is_tls: flags[0],
            has_certificate_on_connection: flags[1],
            has_certificate_in_session: flags[2],
            verify,
            version,
            common_name,
            cipher,
            ..ProxySsl::default()
        });
    let other = vec((0xe0..=0xff_u8, vec(any::<u8>(), 0..20)), 0..3);
    (some_bytes(), some_bytes(), some_bytes(), option::of(ssl), other).prop_map(
        |(alpn, authority, unique_id, ssl, other)| ProxyTlvs {
            alpn,
            authority,
            unique_id,
            ssl,
            other,
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_as_version_2_reads_the_same(
        source in any::<SocketAddr>(),
        destination in any::<SocketAddr>(),
        tlvs in some_tlvs(),
        has_checksum in any::<bool>(),
    ) {
        let (source, destination) = (plain(source), plain(destination));
        let mut bytes = Vec::new();
        prop_assert!(write_proxy_v2(Some((source, destination)), false, &tlvs, has_checksum, &mut bytes));
        let (header, len) = read(&bytes).expect("accepted").expect("complete");
        prop_assert_eq!(len, bytes.len());
        prop_assert_eq!(header.tlvs, tlvs);
        let ProxyAddresses::Ip { source: again, destination: other } = header.addresses else {
            panic!("addresses")
        };
        prop_assert_eq!((canonical(again), canonical(other)), (canonical(source), canonical(destination)));
        for end in 0..bytes.len() {
            prop_assert_eq!(read(&bytes[..end]), Ok(None));
        }
    }

    #[test]
    fn what_is_written_as_version_1_reads_the_same(source in any::<SocketAddr>(), destination in any::<SocketAddr>()) {
        let (source, destination) = (plain(source), plain(destination));
        let mut bytes = Vec::new();
        write_proxy_v1(Some((source, destination)), &mut bytes);
        let wanted = if source.is_ipv4() == destination.is_ipv4() {
            ProxyAddresses::Ip { source, destination }
        } else {
            ProxyAddresses::Unknown
        };
        prop_assert_eq!(addresses(&bytes), wanted);
    }

    #[test]
    fn verdict_does_not_depend_on_the_cut(
        start in prop::sample::select(vec![&b"PROXY TCP4 "[..], b"PROXY ", b"", &[13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10, 0x21]]),
        rest in vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b' '), Just(b'1'), Just(b'.'), any::<u8>()], 0..140),
    ) {
        let bytes = [start, &rest].concat();
        let whole = read(&bytes);
        for end in 0..bytes.len() {
            match read(&bytes[..end]) {
                Ok(None) => {}
                early => prop_assert_eq!(early, whole.clone()),
            }
        }
    }
}

/// Without the flow and the scope of an IPv6 address, which no header carries.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port())
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
