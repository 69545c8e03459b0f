//! Targets that were signed with a key, and hold for a while.

use aws_lc_rs::hmac::{verify, Key, HMAC_SHA256};
use headgate_route::PathRules;
use headgate_wire::RequestHead;
use serde::Deserialize;

use super::key::from_hex;
use super::objects::BadAction;
use super::once::seconds;
use super::time::unix_seconds;
use crate::hooks::exchange::Exchange;

/// Lets a request pass whose target was signed (HMAC-SHA-256 of method, line feed and target) and has not expired; takes both
/// parameters out. Others are the hook's.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignedTarget {
    /// Keys in hex; each is good.
    keys: Vec<String>,
    /// The parameter with the end, in seconds since 1970.
    expires: String,
    /// The parameter with the signature, the last one.
    signature: String,
    /// The most seconds that are left until the end.
    longest: Option<u64>,
    #[serde(skip)]
    ready: Vec<Key>,
}

impl SignedTarget {
    pub(super) fn prepare(&mut self) -> Result<(), BadAction> {
        for key in std::mem::take(&mut self.keys) {
            let key = from_hex(&key).ok_or_else(|| BadAction("a key is not in hex".to_owned()))?;
            self.ready.push(Key::new(HMAC_SHA256, &key));
        }
        Ok(())
    }

    pub(super) fn run(&self, exchange: &Exchange) -> bool {
        let mut request = exchange.request.borrow_mut();
        let Some(kept) = self.unsigned(&request, unix_seconds()) else {
            return false;
        };
        request.set_target(&kept).is_ok()
    }

    /// The target without both parameters, if the signature is good.
    fn unsigned(&self, request: &RequestHead, now: f64) -> Option<Vec<u8>> {
        let target = request.target();
        let separator = format!("&{}=", self.signature);
        let at = memchr::memmem::rfind(target, separator.as_bytes())?;
        let (signed, given) = (&target[..at], &target[at + separator.len()..]);
        let query = &signed[memchr::memchr(b'?', signed)? + 1..];
        let left = self.end(query)? - now;
        #[allow(clippy::cast_precision_loss, reason = "seconds are far below 2^53")]
        if left < 0.0 || self.longest.is_some_and(|longest| left > longest as f64) {
            return None;
        }
        let given = from_hex(std::str::from_utf8(given).ok()?)?;
        let method = if request.is_head() {
            b"GET"
        } else {
            request.method()
        };
        let told = [method, b"\n", signed].concat();
        if !self.ready.iter().any(|key| verify(key, &told, &given).is_ok()) {
            return None;
        }
        let path = request.path();
        // another spelling is for the hook, which sends the normal one on
        let normal = PathRules::default().normalize(path).ok()?;
        if !normal.is_equivalent {
            return None;
        }
        let mut kept = path.to_vec();
        for (place, part) in query
            .split(|byte| *byte == b'&')
            .filter(|part| name_of(part) != self.expires.as_bytes())
            .enumerate()
        {
            kept.push(if place == 0 { b'?' } else { b'&' });
            kept.extend_from_slice(part);
        }
        if kept.len() == path.len() + 1 {
            kept.pop(); // nothing but the question mark
        }
        Some(kept)
    }

    /// The end that a query tells once: twice would be a question of who reads which.
    fn end(&self, query: &[u8]) -> Option<f64> {
        let mut ends = query
            .split(|byte| matches!(byte, b'&' | b';'))
            .filter(|part| name_of(part) == self.expires.as_bytes());
        let end = ends.next().filter(|_| ends.next().is_none())?;
        seconds(end.get(self.expires.len() + 1..)?)
    }
}

fn name_of(part: &[u8]) -> &[u8] {
    part.split(|byte| *byte == b'=').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::hmac::sign;
    use headgate_wire::{parse_request, HeadLimits, Parsed};

    const KEY: &[u8] = b"0123456789abcdef";

    fn hex(bytes: &[u8]) -> String {
        use std::fmt::Write;
        bytes.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    fn request(method: &str, target: &str) -> RequestHead {
        let limits = HeadLimits {
            max_bytes: 10_000,
            max_fields: 100,
            lenient: headgate_wire::Lenient::default(),
        };
        let text = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        match parse_request(text.as_bytes(), limits) {
            Ok(Parsed::Complete { head, .. }) => head,
            _ => panic!("it is a request"),
        }
    }

    fn signed(method: &str, target: &str) -> String {
        let mac = sign(
            &Key::new(HMAC_SHA256, KEY),
            format!("{method}\n{target}").as_bytes(),
        );
        format!("{target}&signature={}", hex(mac.as_ref()))
    }

    #[test]
    fn only_what_was_signed_and_holds_passes() {
        let mut action: SignedTarget = serde_json::from_str(&format!(
            r#"{{"keys": ["{}", "{}"], "expires": "expires", "signature": "signature", "longest": 100}}"#,
            hex(b"another key, also good"),
            hex(KEY)
        ))
        .unwrap();
        action.prepare().unwrap();
        let kept = |method: &str, target: &str| {
            let kept = action.unsigned(&request(method, target), 1000.0);
            kept.map(|kept| String::from_utf8(kept).unwrap())
        };
        for (target, wanted) in [
            ("/a?expires=1000", "/a"),
            ("/a?b=1&expires=1050&c=2", "/a?b=1&c=2"),
            ("/a?&expires=1050", "/a"),
        ] {
            assert_eq!(
                kept("GET", &signed("GET", target)).as_deref(),
                Some(wanted),
                "{target}"
            );
            assert_eq!(kept("HEAD", &signed("GET", target)).as_deref(), Some(wanted));
            let upper = signed("GET", target);
            let (start, mac) = upper.split_at(upper.len() - 64);
            let upper = format!("{start}{}", mac.to_uppercase());
            assert_eq!(kept("GET", &upper).as_deref(), Some(wanted));
            assert_eq!(kept("POST", &signed("GET", target)), None);
        }
        for target in [
            "/a?expires=999",
            "/a?expires=1101",
            "/a?expires=1050&expires=1050",
            "/a?expires=1050;expires=1050",
            "/a?expires",
            "/a?expires=",
            "/a?x=1",
        ] {
            assert_eq!(kept("GET", &signed("GET", target)), None, "{target}");
        }
        let good = signed("GET", "/a?expires=1050");
        assert_eq!(kept("GET", &good.replace("/a", "/b")), None);
        assert_eq!(kept("GET", &format!("{good}0")), None);
        assert_eq!(kept("GET", &good[..good.len() - 1]), None);
        assert_eq!(kept("GET", "/a?expires=1050"), None);
    }
}
