//! The request-target and the host: one per line. What is accepted has a host that reads the same again.
#![no_main]

use headgate_wire::{parse_request, Authority, HeadLimits, Parsed, TargetForm};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut lines = bytes.splitn(3, |&byte| byte == b'\n');
    let (method, target, host) = (
        lines.next().unwrap_or_default(),
        lines.next().unwrap_or_default(),
        lines.next().unwrap_or_default(),
    );
    let _ = Authority::parse(target);
    let request = [method, b" ", target, b" HTTP/1.1\r\nHost: ", host, b"\r\n\r\n"].concat();
    let Ok(Parsed::Complete { mut head, .. }) = parse_request(&request, HeadLimits::default()) else {
        return;
    };
    assert!(Authority::parse(head.host()).is_some());
    let starts_well = head.target().starts_with(b"/") || head.target() == b"*";
    assert!(starts_well || head.form == TargetForm::Authority);
    if starts_well {
        let before = head.target().to_vec();
        head.set_target(&before).expect("what was accepted can be set");
        assert_eq!(head.target(), before);
    }
});
