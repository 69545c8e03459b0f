//! A ClientHello: no panic, and one verdict however the bytes are cut.
#![no_main]

use headgate_wire::{parse_client_hello, ClientHello, ClientHelloError, Parsed};
use libfuzzer_sys::fuzz_target;

fn read(bytes: &[u8]) -> Result<Option<(ClientHello, usize)>, ClientHelloError> {
    Ok(match parse_client_hello(bytes, 8192)? {
        Parsed::Partial => None,
        Parsed::Complete { head, len } => Some((head, len)),
    })
}

fuzz_target!(|bytes: &[u8]| {
    let whole = read(bytes);
    for end in [bytes.len() / 3, bytes.len() / 2, bytes.len().saturating_sub(1)] {
        match read(&bytes[..end]) {
            Ok(None) => {}
            early => assert_eq!(early, whole),
        }
    }
    if let Ok(Some((hello, len))) = whole {
        assert!(len <= bytes.len());
        assert!(hello.server_name.is_none_or(|name| name.len() <= 253));
    }
});
