//! What a dictionary holds, and what may be wrong.

use thiserror::Error;

/// A value; the kind comes back as it went in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// Nothing, which is not the same as no entry.
    None,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// Bytes.
    Bytes(&'a [u8]),
    /// The bytes of a text.
    Text(&'a [u8]),
    /// The bytes of a JSON document.
    Json(&'a [u8]),
}

/// A value that was copied out.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "as in `Value`")]
pub enum Owned {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Bytes(Vec<u8>),
    Text(Vec<u8>),
    Json(Vec<u8>),
}

/// A number that was counted up.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs, reason = "as in `Value`")]
pub enum Number {
    Int(i64),
    Float(f64),
}

/// An end of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum End {
    Left,
    Right,
}

/// Why an operation was refused; the dictionary is as it was.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Refused {
    /// No entry of that key, where one is needed.
    #[error("there is no such key")]
    Absent,
    /// Counting something that is not a number.
    #[error("the value is not a number")]
    NotANumber,
    /// Counting past 64 bits.
    #[error("the sum does not fit in 64 bits")]
    Overflow,
    /// A list operation on another value, or another operation on a list.
    #[error("the value is {}", if *.is_list { "a list\nhint: use `lpop`, `rpop` and `llen`" } else { "no list" })]
    Kind {
        /// What it is.
        is_list: bool,
    },
    /// A key of no bytes, or of more than 65535.
    #[error("a key must have 1 to 65535 bytes, not {bytes}")]
    Key {
        /// Its length.
        bytes: usize,
    },
    /// More than half a shard.
    #[error(
        "key and value have {bytes} bytes, of which this dictionary takes {limit}\nhint: make it larger"
    )]
    TooLarge {
        /// Of key and value.
        bytes: usize,
        /// The most.
        limit: usize,
    },
    /// Nothing more fits, and nothing may go for it.
    #[error("the dictionary is full\nhint: make it larger")]
    Full,
    /// Its lock is held by a process that does not run on.
    #[error("process {pid} does not release its lock on the dictionary\nhint: was it stopped?")]
    Stuck {
        /// The holder.
        pid: u32,
    },
}

impl From<Number> for Value<'_> {
    fn from(number: Number) -> Self {
        match number {
            Number::Int(n) => Self::Int(n),
            Number::Float(x) => Self::Float(x),
        }
    }
}

/// What counting up gives: exact between whole numbers.
pub(super) fn sum(a: Number, b: Number) -> Result<Number, Refused> {
    #[allow(clippy::cast_precision_loss, reason = "as Python adds an int to a float")]
    let float = |number| match number {
        Number::Int(n) => n as f64,
        Number::Float(x) => x,
    };
    match (a, b) {
        (Number::Int(a), Number::Int(b)) => a.checked_add(b).map(Number::Int).ok_or(Refused::Overflow),
        _ => Ok(Number::Float(float(a) + float(b))),
    }
}
