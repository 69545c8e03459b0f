//! Tokens by which clients that come back prove their address at once (`NEW_TOKEN`, RFC 9000 section 8.1.3).

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use quinn_proto::{TokenLog, TokenReuseError, ValidationTokenConfig};

/// How long a token is good for.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// Numbers of used tokens in one of the two sets, 16 bytes each.
const REMEMBERED: usize = 16 * 1024;

/// What tokens are given out and taken with.
pub(super) fn config() -> ValidationTokenConfig {
    let mut config = ValidationTokenConfig::default();
    config
        .lifetime(LIFETIME)
        .sent(1)
        .log(Arc::new(UsedTokens::default()));
    config
}

/// Tokens that were used, as far as they are remembered: who uses one twice has that address all the same.
#[derive(Default)]
struct UsedTokens(Mutex<[HashSet<u128>; 2]>);

impl TokenLog for UsedTokens {
    fn check_and_insert(&self, nonce: u128, _: SystemTime, _: Duration) -> Result<(), TokenReuseError> {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if used.iter().any(|used| used.contains(&nonce)) {
            return Err(TokenReuseError);
        }
        if used[0].len() == REMEMBERED {
            // the older half is forgotten
            used.swap(0, 1);
            used[0].clear();
        }
        used[0].insert(nonce);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_used_once_and_what_is_remembered_is_bounded() {
        let used = UsedTokens::default();
        let mut take = |nonce| {
            used.check_and_insert(nonce, SystemTime::UNIX_EPOCH, LIFETIME)
                .is_ok()
        };
        assert!(take(1));
        assert!(!take(1));
        assert!((2..100_000).all(&mut take));
        assert!(!take(99_999));
        let sizes = used
            .0
            .lock()
            .expect("no test has panicked")
            .each_ref()
            .map(HashSet::len);
        assert!(sizes.into_iter().all(|size| size <= REMEMBERED));
    }
}
