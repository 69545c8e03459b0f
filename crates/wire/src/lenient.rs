//! What is let pass though the grammar does not allow it: each rule has a name, and none holds unless it is named.

/// Rules of the grammar that are not insisted on; none by default.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Lenient(u16);

impl Lenient {
    /// Every rule is insisted on.
    pub const NONE: Self = Self(0);
    /// Requests: more than one digit on a side of the version's dot, `HTTP/01.01` (RFC 9112 section 2.3).
    pub const VERSION_DIGITS: Self = Self(1);
    /// Chunk extensions that are not `;name[=value]`, such as `5;` (RFC 9112 section 7.1.1).
    pub const CHUNK_EXTENSIONS: Self = Self(1 << 1);
    /// Control characters in field values become spaces (RFC 9110 section 5.5); CR, LF and NUL never do.
    pub const CONTROL_CHARACTERS: Self = Self(1 << 2);
    /// Requests: bytes over 0x7F and `"`, `<`, `>`, `` ` `` in the target are percent-encoded (RFC 3986 section 2).
    pub const NON_ASCII_TARGETS: Self = Self(1 << 3);
    /// Requests: escapes in the target that spell a character in more bytes than it has in UTF-8 (RFC 3629 section 3).
    pub const OVERLONG_UTF8: Self = Self(1 << 4);
    /// Requests: a fragment is cut off the target (RFC 3986 section 4.3).
    pub const FRAGMENTS: Self = Self(1 << 5);
    /// Lines that end with LF alone (RFC 9112 section 2.2).
    pub const BARE_LF: Self = Self(1 << 6);
    /// Field lines that go on in the next line are joined (RFC 9112 section 5.2).
    pub const FOLDED_LINES: Self = Self(1 << 7);
    /// Of several Content-Length fields or members with the same value one is kept (RFC 9110 section 8.6).
    pub const DUPLICATE_CONTENT_LENGTH: Self = Self(1 << 8);

    const NAMES: [(&'static str, Self); 9] = [
        ("version_digits", Self::VERSION_DIGITS),
        ("chunk_extensions", Self::CHUNK_EXTENSIONS),
        ("control_characters", Self::CONTROL_CHARACTERS),
        ("non_ascii_targets", Self::NON_ASCII_TARGETS),
        ("overlong_utf8", Self::OVERLONG_UTF8),
        ("fragments", Self::FRAGMENTS),
        ("bare_lf", Self::BARE_LF),
        ("folded_lines", Self::FOLDED_LINES),
        ("duplicate_content_length", Self::DUPLICATE_CONTENT_LENGTH),
    ];

    /// The rule of that name in the configuration.
    pub fn named(name: &str) -> Option<Self> {
        let found = Self::NAMES.iter().find(|(known, _)| *known == name);
        found.map(|(_, rule)| *rule)
    }

    /// The rules of those names.
    ///
    /// # Errors
    /// The first name that is not known.
    pub fn of(names: &[String]) -> Result<Self, &str> {
        names.iter().try_fold(Self::NONE, |all, name| {
            Self::named(name).map(|rule| all.and(rule)).ok_or(name.as_str())
        })
    }

    /// These rules and the others.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether one of `rules` is not insisted on.
    pub const fn has(self, rules: Self) -> bool {
        self.0 & rules.0 != 0
    }
}
