//! Field names that are another name one step later: CGI and WSGI make `X_FORWARDED_FOR` of `X-Forwarded-For` and of
//! `X_Forwarded_For` alike (RFC 3875 section 4.1.18), so a server cannot tell the true field from a client's.

use crate::field::HIDDEN;
use crate::head::Head;

/// Names of fields that no other field may be taken for.
#[derive(Clone, Debug, Default)]
pub struct GuardedNames {
    names: Vec<Vec<u8>>,
    /// A bit for each length of a name; the last one for all longer ones.
    lengths: u64,
}

impl GuardedNames {
    /// Guards these names; case does not matter.
    pub fn new<N: AsRef<[u8]>>(names: impl IntoIterator<Item = N>) -> Self {
        let names: Vec<Vec<u8>> = names
            .into_iter()
            .map(|name| name.as_ref().to_ascii_lowercase())
            .collect();
        let lengths = names.iter().fold(0, |all, name| all | length_bit(name.len()));
        Self { names, lengths }
    }

    /// Whether `name` is none of the names, but becomes one where all that is neither letter nor digit is the same.
    pub fn has_lookalike(&self, name: &[u8]) -> bool {
        self.lengths & length_bit(name.len()) != 0
            && !self.has(name)
            && self.names.iter().any(|known| becomes(name, known))
    }

    /// Whether `name` is one of the names.
    pub fn has(&self, name: &[u8]) -> bool {
        self.lengths & length_bit(name.len()) != 0
            && self.names.iter().any(|known| name.eq_ignore_ascii_case(known))
    }
}

fn length_bit(length: usize) -> u64 {
    1 << length.min(63)
}

fn becomes(name: &[u8], known: &[u8]) -> bool {
    let is_same = |(one, other): (&u8, &u8)| {
        one.eq_ignore_ascii_case(other) || !(one.is_ascii_alphanumeric() || other.is_ascii_alphanumeric())
    };
    name.len() == known.len() && name.iter().zip(known).all(is_same)
}

impl Head {
    /// Hides the fields that could be taken for one of `guarded`. Costs a comparison of lengths for each other field.
    pub fn hide_lookalikes(&mut self, guarded: &GuardedNames) {
        for at in 0..self.fields.len() {
            let field = &self.fields[at];
            if guarded.lengths & length_bit(usize::from(field.name_len)) != 0
                && guarded.has_lookalike(self.name(field))
            {
                self.fields[at].state |= HIDDEN;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guarded() -> GuardedNames {
        GuardedNames::new(["X-Forwarded-For", "x-real-ip", "x_user"])
    }

    #[test]
    fn names_that_become_a_guarded_one_are_lookalikes() {
        for name in [
            "X_Forwarded_For",
            "x-forwarded_for",
            "X.Forwarded.For",
            "x_real-ip",
            "X-User",
            "x!user",
        ] {
            assert!(guarded().has_lookalike(name.as_bytes()), "{name}");
        }
        for name in [
            "X-Forwarded-For",
            "x-real-ip",
            "X_User",
            "XXForwardedXFor",
            "x-forwarded-foo",
            "",
        ] {
            assert!(!guarded().has_lookalike(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn only_lookalikes_are_hidden() {
        let mut head = Head::empty();
        for name in ["X-Forwarded-For", "X_Forwarded_For", "x_other", "X-Real_IP"] {
            head.add(name.as_bytes(), b"1").expect("it is a field");
        }
        head.hide_lookalikes(&guarded());
        let left: Vec<&[u8]> = head.iter().map(|(name, _)| name).collect();
        assert_eq!(left, [&b"X-Forwarded-For"[..], b"x_other"]);
    }
}
