//! A PROXY header: no panic, one verdict however the bytes are cut, and what is written again reads the same.
#![no_main]

use headgate_wire::{
    parse_proxy, write_proxy_v2, Parsed, ProxyAddresses, ProxyError, ProxyHeader, ProxyVersions,
};
use libfuzzer_sys::fuzz_target;

fn read(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, ProxyError> {
    Ok(match parse_proxy(bytes, ProxyVersions::Any, 4096)? {
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
    let Ok(Some((header, len))) = whole else {
        return;
    };
    assert!(len <= bytes.len());
    let ProxyAddresses::Ip { source, destination } = header.addresses else {
        return;
    };
    let mut out = Vec::new();
    assert!(write_proxy_v2(
        Some((source, destination)),
        false,
        &header.tlvs,
        true,
        &mut out
    ));
    if out.len() <= 4096 {
        let (again, _) = read(&out).expect("accepted").expect("complete");
        assert_eq!(again.tlvs, header.tlvs);
    }
});
