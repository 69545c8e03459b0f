//! Locations of redirects: template, value of `{x}`, path and query, one per line. No value leads to another host.
#![no_main]

use headgate_route::{fill_location, normalize_path, LocationParts};
use libfuzzer_sys::fuzz_target;

struct UriOfRequest<'a> {
    value: &'a [u8],
    path: &'a [u8],
    query: &'a [u8],
}

impl LocationParts for UriOfRequest<'_> {
    fn scheme(&self) -> &[u8] {
        b"http"
    }

    fn host(&self) -> &[u8] {
        b"site.test"
    }

    fn path(&self) -> &[u8] {
        self.path
    }

    fn query(&self) -> &[u8] {
        self.query
    }

    fn parameter(&self, name: &str) -> Option<Vec<u8>> {
        (name == "x").then(|| self.value.to_vec())
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut lines = bytes.splitn(4, |&byte| byte == b'\n');
    let mut next = || lines.next().unwrap_or_default();
    let (template, value, path, query) = (next(), next(), next(), next());
    let is_uri = |text: &[u8]| {
        text.iter()
            .all(|byte| (0x21..0x7f).contains(byte) && *byte != b'\\')
    };
    let (Ok(template), Ok(path)) = (std::str::from_utf8(template), normalize_path(path)) else {
        return;
    };
    if !is_uri(template.as_bytes()) || !is_uri(query) {
        return; // refused before
    }
    let parts = UriOfRequest {
        value,
        path: &path,
        query,
    };
    let location = fill_location(template, &parts).expect("it has a host");
    assert!(is_uri(&location));
    let names_no_host = template.starts_with('/') && !template.starts_with("//");
    assert!(!names_no_host || !location.starts_with(b"//"));
    for begin in ["https://other.test/", "//other.test/"] {
        assert!(!template.starts_with(begin) || location.starts_with(begin.as_bytes()));
    }
    if template.starts_with("{x}") || template.starts_with("{path}") || template.starts_with("{target}") {
        assert!(location.starts_with(b"./") || location.starts_with(b"/") && !location.starts_with(b"//"));
    }
});
