//! Values of a query that access logs must not show, such as API keys: found by the names of their parameters.

use std::borrow::Cow;

use headgate_route::percent_decode;

/// What stands in place of such a value.
const MASK: &[u8] = b"***";

/// The names of parameters whose values are masked; their case does not count, and neither does percent-encoding.
#[derive(Debug, Default)]
pub struct QueryMask {
    names: Box<[Box<[u8]>]>,
}

impl QueryMask {
    /// A mask of these names.
    pub fn new(names: &[String]) -> Self {
        let names = names.iter().map(|name| name.as_bytes().into());
        Self {
            names: names.collect(),
        }
    }

    /// A target or a URL with the values masked; the same bytes where there is nothing to mask.
    pub fn apply<'a>(&self, target: &'a [u8]) -> Cow<'a, [u8]> {
        let Some(mark) = memchr::memchr(b'?', target).filter(|_| !self.names.is_empty()) else {
            return Cow::Borrowed(target);
        };
        let mut masked: Option<Vec<u8>> = None;
        let mut at = mark + 1;
        for part in target[at..].split(|&byte| byte == b'&' || byte == b'#') {
            let end = at + part.len();
            let value = memchr::memchr(b'=', part).filter(|&length| self.has(&part[..length]));
            if let Some(length) = value {
                let kept = masked.get_or_insert_with(|| target[..at].to_vec());
                kept.extend_from_slice(&part[..=length]);
                kept.extend_from_slice(MASK);
            } else if let Some(kept) = &mut masked {
                kept.extend_from_slice(part);
            }
            if let Some(kept) = &mut masked {
                kept.extend_from_slice(&target[end..target.len().min(end + 1)]);
            }
            at = end + 1;
        }
        masked.map_or(Cow::Borrowed(target), Cow::Owned)
    }

    fn has(&self, sent: &[u8]) -> bool {
        let name = percent_decode(sent);
        self.names.iter().any(|known| name.eq_ignore_ascii_case(known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(target: &str) -> String {
        let mask = QueryMask::new(&["token".to_owned(), "api_key".to_owned()]);
        String::from_utf8(mask.apply(target.as_bytes()).into_owned()).expect("UTF-8")
    }

    #[test]
    fn values_of_the_named_parameters_are_masked_and_nothing_else() {
        for (target, shown) in [
            ("/?token=abc", "/?token=***"),
            ("/?a=1&token=abc&b=2", "/?a=1&token=***&b=2"),
            ("/?token=a&token=b&api_key=", "/?token=***&token=***&api_key=***"),
            ("/?TOKEN=abc", "/?TOKEN=***"),
            ("/?%74oke%6E=abc", "/?%74oke%6E=***"),
            ("/?token=a=b%26c", "/?token=***"),
            (
                "https://a.test/x?token=abc#part&token=d",
                "https://a.test/x?token=***#part&token=***",
            ),
            ("/?x?token=abc&token=abc?", "/?x?token=abc&token=***"),
        ] {
            assert_eq!(masked(target), shown);
        }
        for same in [
            "/token=abc",
            "/?token",
            "/?tokens=a",
            "/?toke=a",
            "/?%7=a",
            "/?%zzoken=a",
            "/?",
            "",
            "/?&&=&",
            "*",
        ] {
            assert_eq!(masked(same), same);
        }
    }

    #[test]
    fn without_names_nothing_is_masked() {
        let mask = QueryMask::default();
        assert!(matches!(
            mask.apply(b"/?token=abc"),
            Cow::Borrowed(b"/?token=abc")
        ));
    }
}
