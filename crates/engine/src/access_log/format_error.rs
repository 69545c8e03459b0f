//! Why a format of the access log is refused.

/// Why a format was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// A name in braces is not a field.
    #[error("access log format has no field `{name}`; {hint}")]
    UnknownField {
        /// The name that was not known.
        name: String,
        /// The nearest right name, or all of them.
        hint: String,
    },
    /// Text without any field, most likely a misspelt name of a format.
    #[error("access log format `{format}` has no fields; hint: use `json`, `combined` or text with `{{field}}` names")]
    NoField {
        /// The text that was given.
        format: String,
    },
    /// A brace without its partner.
    #[error("access log format has an unmatched brace at byte {offset}; hint: write literal braces twice, `{{{{` or `}}}}`")]
    UnmatchedBrace {
        /// Where it stands, from 0.
        offset: usize,
    },
    /// A control character, which would break lines.
    #[error("access log format has a control character at byte {offset}; hint: each request is one line, which the gateway terminates")]
    ControlCharacter {
        /// Where it stands, from 0.
        offset: usize,
    },
}
