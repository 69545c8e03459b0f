//! Regexes, compiled once for as long as some table has them: a configuration that is read anew shares those of the one
//! in force, and what they have learnt while matching.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use regex::bytes::{Regex, RegexBuilder};
use regex::Error;

const LEAST_SWEPT: usize = 64;

#[derive(Default)]
struct Known {
    /// By their text: those that heed case, and those that do not.
    regexes: [HashMap<Box<str>, Weak<Regex>>; 2],
    /// As many entries, and those that nobody has any more are taken out.
    sweep_at: usize,
}

static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);

/// The regex of a text, which is compiled unless somebody has it already.
pub(crate) fn compiled(source: &str, ignores_case: bool) -> Result<Arc<Regex>, Error> {
    let lock = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let known = lock().regexes[usize::from(ignores_case)]
        .get(source)
        .and_then(Weak::upgrade);
    if let Some(regex) = known {
        return Ok(regex);
    }
    let built = RegexBuilder::new(source).case_insensitive(ignores_case).build()?;
    let regex = Arc::new(built);
    lock().insert(source, ignores_case, &regex);
    Ok(regex)
}

impl Known {
    fn insert(&mut self, source: &str, ignores_case: bool, regex: &Arc<Regex>) {
        if self.len() >= self.sweep_at {
            for regexes in &mut self.regexes {
                regexes.retain(|_, one| one.strong_count() > 0);
            }
            self.sweep_at = (2 * self.len()).max(LEAST_SWEPT);
        }
        self.regexes[usize::from(ignores_case)].insert(source.into(), Arc::downgrade(regex));
    }

    fn len(&self) -> usize {
        self.regexes.iter().map(HashMap::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_has_is_not_compiled_again() {
        let first = compiled("^/shared/[0-9]+$", false).unwrap();
        assert!(Arc::ptr_eq(&first, &compiled("^/shared/[0-9]+$", false).unwrap()));
        let other = compiled("^/shared/[0-9]+$", true).unwrap();
        assert!(!Arc::ptr_eq(&first, &other));
        assert!(other.is_match(b"/SHARED/1") || other.is_match(b"/shared/1"));
        assert!(compiled("^/SHARED$", true).unwrap().is_match(b"/shared"));
        assert!(!compiled("^/SHARED$", false).unwrap().is_match(b"/shared"));
    }

    #[test]
    fn what_nobody_has_any_more_is_forgotten() {
        let mut known = Known::default();
        let kept = Arc::new(Regex::new("kept").unwrap());
        known.insert("kept", false, &kept);
        for number in 0..10 * LEAST_SWEPT {
            let gone = Arc::new(kept.as_ref().clone());
            known.insert(&format!("gone {number}"), number % 2 == 0, &gone);
            assert!(known.len() <= LEAST_SWEPT + 1);
        }
        let found = known.regexes[0].get("kept").and_then(Weak::upgrade);
        assert!(Arc::ptr_eq(&kept, &found.unwrap()));
    }
}
