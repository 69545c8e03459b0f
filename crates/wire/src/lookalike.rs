//! Field names that are another name one step later: CGI and WSGI make `X_FORWARDED_FOR` of `X-Forwarded-For` and of
//! `X_Forwarded_For` alike (RFC 3875 section 4.1.18), so a server cannot tell the true field from a client's.

/// Names of fields that no other field may be taken for.
#[derive(Clone, Debug, Default)]
pub struct GuardedNames {
    names: Vec<Vec<u8>>,
    /// A bit for each length of a name; the last one for all longer ones.
    lengths: u64,
    /// A bit for each first byte of a name or of a lookalike.
    first_bytes: u32,
}

impl GuardedNames {
    /// Guards these names; case does not matter.
    pub fn new<N: AsRef<[u8]>>(names: impl IntoIterator<Item = N>) -> Self {
        let names: Vec<Vec<u8>> = names
            .into_iter()
            .map(|name| name.as_ref().to_ascii_lowercase())
            .collect();
        let lengths = names.iter().fold(0, |all, name| all | length_bit(name.len()));
        let first_bytes = names.iter().fold(0, |all, name| match name.first() {
            Some(byte) if byte.is_ascii_alphanumeric() => all | first_byte_bit(name),
            _ => u32::MAX,
        });
        Self {
            names,
            lengths,
            first_bytes,
        }
    }

    /// Whether `name` is none of the names, but becomes one where all that is neither letter nor digit is the same.
    #[inline]
    pub fn has_lookalike(&self, name: &[u8]) -> bool {
        self.may_have(name) && !self.has(name) && self.names.iter().any(|known| becomes(name, known))
    }

    /// Whether `name` is one of the names.
    #[inline]
    pub fn has(&self, name: &[u8]) -> bool {
        self.may_have(name) && self.names.iter().any(|known| name.eq_ignore_ascii_case(known))
    }

    /// Spares nearly every field the comparisons: neither a name nor a lookalike differs from it in length, or in a
    /// first byte that is a letter or digit.
    #[inline]
    fn may_have(&self, name: &[u8]) -> bool {
        self.first_bytes & first_byte_bit(name) != 0 && self.lengths & length_bit(name.len()) != 0
    }
}

/// Of the five bits that the letters of both cases share.
#[inline]
fn first_byte_bit(name: &[u8]) -> u32 {
    name.first().map_or(0, |byte| 1 << (byte & 31))
}

#[inline]
fn length_bit(length: usize) -> u64 {
    1 << length.min(63)
}

fn becomes(name: &[u8], known: &[u8]) -> bool {
    let is_same = |(one, other): (&u8, &u8)| {
        one.eq_ignore_ascii_case(other) || !(one.is_ascii_alphanumeric() || other.is_ascii_alphanumeric())
    };
    name.len() == known.len() && name.iter().zip(known).all(is_same)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::Head;

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
    fn names_that_begin_with_a_separator_are_guarded_too() {
        let guarded = GuardedNames::new(["_user"]);
        assert!(guarded.has("_USER".as_bytes()) && !guarded.has("-user".as_bytes()));
        assert!(guarded.has_lookalike(b"-user") && guarded.has_lookalike(b"!User"));
        assert!(!guarded.has_lookalike(b"xuser") && !guarded.has_lookalike(b"_user"));
    }

    #[test]
    fn only_lookalikes_are_hidden() {
        let mut head = Head::empty();
        for name in ["X-Forwarded-For", "X_Forwarded_For", "x_other", "X-Real_IP"] {
            head.add(name.as_bytes(), b"1").expect("it is a field");
        }
        head.retain(|name, _| !guarded().has_lookalike(name));
        let left: Vec<&[u8]> = head.iter().map(|(name, _)| name).collect();
        assert_eq!(left, [&b"X-Forwarded-For"[..], b"x_other"]);
    }
}
