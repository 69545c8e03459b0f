//! How urgent a client says that a response is: the field `Priority` (RFC 9218 section 4).

/// How urgent a response is, and whether a part of it is of use alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Priority {
    /// From 0, the most urgent, to 7.
    pub urgency: u8,
    /// Whether it is used as it comes, so that it may share with others.
    pub is_incremental: bool,
}

impl Default for Priority {
    fn default() -> Self {
        Self {
            urgency: 3,
            is_incremental: false,
        }
    }
}

impl Priority {
    /// The largest number of an urgency.
    pub const LEAST_URGENT: u8 = 7;

    /// The same with what a field says; what it does not say, or not validly, stays.
    #[must_use]
    pub fn and(mut self, field: &[u8]) -> Self {
        for member in split(field, b',') {
            let mut parts = split(member, b';');
            let item = parts.next().unwrap_or_default().trim_ascii();
            match item {
                [b'u', b'=', digit @ b'0'..=b'7'] => self.urgency = digit - b'0',
                b"i" | b"i=?1" => self.is_incremental = true,
                b"i=?0" => self.is_incremental = false,
                _ => {}
            }
        }
        self
    }
}

/// The parts between separators, which mean nothing within strings and inner lists (RFC 8941 section 3).
fn split(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut is_quoted, mut is_escaped, mut is_list) = (false, false, false);
    text.split(move |&byte| {
        let is_outside = !is_quoted && !is_list;
        match byte {
            _ if std::mem::take(&mut is_escaped) => {}
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            b'(' if !is_quoted => is_list = true,
            b')' if !is_quoted => is_list = false,
            _ => {}
        }
        byte == separator && is_outside
    })
}

#[cfg(test)]
mod tests {
    use super::Priority;

    fn told(field: &str) -> (u8, bool) {
        let priority = Priority::default().and(field.as_bytes());
        (priority.urgency, priority.is_incremental)
    }

    #[test]
    fn what_a_field_says_is_read() {
        assert_eq!(told(""), (3, false));
        assert_eq!(told("u=0"), (0, false));
        assert_eq!(told("u=5, i"), (5, true));
        assert_eq!(told("i=?1,u=7"), (7, true));
        assert_eq!(told("i, i=?0"), (3, false));
        assert_eq!(told("u=1;a=2 , i;b"), (1, true));
        assert_eq!(told("u=1, u=2"), (2, false));
    }

    #[test]
    fn what_is_not_valid_means_nothing() {
        for field in [
            "u=8",
            "u=-1",
            "u=1.0",
            "u",
            "u=?1",
            "i=1",
            "I",
            "U=1",
            "x=\"a, u=1, i\"",
            "(u=1, i)",
        ] {
            assert_eq!(told(field), (3, false), "{field}");
        }
        assert_eq!(told(r#"x="\", u=1", u=2"#), (2, false));
    }

    #[test]
    fn a_second_field_changes_only_what_it_says() {
        let client = Priority::default().and(b"u=5, i");
        assert_eq!(
            client.and(b"u=1"),
            Priority {
                urgency: 1,
                is_incremental: true
            }
        );
        assert_eq!(
            client.and(b"i=?0"),
            Priority {
                urgency: 5,
                is_incremental: false
            }
        );
    }
}
