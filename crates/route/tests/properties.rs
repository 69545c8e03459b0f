//! What holds for every path and every location, as in the fuzz targets `path` and `location`.

use headgate_route::{
    fill_location, normalize_path, other_readings, EncodedSlashes, LocationParts, PathRules,
};
use proptest::prelude::*;

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

const PATH: &str = r"/?([a-c/.;%]|%2[eEfF]|%5[cC]|%c0%ae|//|\.\.|\\|[\x00-\xff]){0,12}";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn an_accepted_path_has_one_form(path in PATH, rule: u8, merge_slashes: bool) {
        let rules = PathRules {
            encoded_slashes: [EncodedSlashes::Keep, EncodedSlashes::Refuse, EncodedSlashes::Decode]
                [usize::from(rule % 3)],
            merge_slashes,
        };
        let Ok(normal) = rules.normalize(path.as_bytes()) else { return Ok(()) };
        let text = normal.text.as_ref();
        prop_assume!(text != b"*");
        prop_assert!(text.starts_with(b"/"));
        prop_assert!(text.iter().all(|byte| (0x21..0x7f).contains(byte)));
        let again = rules.normalize(text).expect("a normal form is accepted");
        prop_assert_eq!(again.text.as_ref(), text);
        let readings = other_readings(text);
        prop_assert!(!normal.is_plain || readings.is_empty());
        for reading in readings.iter().map(Vec::as_slice).chain([text]) {
            prop_assert!(reading.split(|byte| *byte == b'/').all(|one| one != b"." && one != b".."));
        }
        prop_assert!(!merge_slashes || !text.windows(2).any(|two| two == b"//"));
        let has_encoded_slash = text.windows(3).any(|three| three == b"%2F");
        prop_assert!(rules.encoded_slashes == EncodedSlashes::Keep || !has_encoded_slash);
    }

    #[test]
    fn no_value_leads_a_redirect_to_another_host(
        template in r"(/|//o/|https://o/|\{x\}|\{path\}|\{target\}|/a\{x\}|/\{x\})([a-z/?#:=.]|\{x\}|\{path\}|\{query\}|\{target\}|://){0,6}",
        value in r"([a-z/:?#.@%]|\\|//|https?:|javascript:|%2[fF]|%5[cC]|[\x00-\xff]){0,10}",
        path in PATH,
        query in r"[a-z&=%/?]{0,8}",
    ) {
        let Ok(path) = normalize_path(path.as_bytes()) else { return Ok(()) };
        let parts = UriOfRequest { value: value.as_bytes(), path: &path, query: query.as_bytes() };
        let location = fill_location(&template, &parts).expect("it has a host");
        prop_assert!(location.iter().all(|byte| (0x21..0x7f).contains(byte) && *byte != b'\\'));
        let names_no_host = template.starts_with('/') && !template.starts_with("//");
        prop_assert!(!names_no_host || !location.starts_with(b"//"));
        for begin in ["https://o/", "//o/"] {
            prop_assert!(!template.starts_with(begin) || location.starts_with(begin.as_bytes()));
        }
        if template.starts_with('{') {
            prop_assert!(location.starts_with(b"./") || location.starts_with(b"/") && !location.starts_with(b"//"));
        }
    }
}
