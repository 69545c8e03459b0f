//! Plain YAML as Python's values: large configurations are read in a fraction of the time that libyaml's events take.
//!
//! How it works: the events of one document become lists, tables and scalars of YAML 1.2's core schema. Whatever is not
//! plain is left to the reader in Python, which also says what is wrong and where: anchors, aliases, tags, merge keys,
//! duplicate keys, several documents, and characters that YAML 1.1 and 1.2 see with different eyes.

use std::borrow::Cow;
use std::collections::HashMap;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString};
use saphyr_parser::{Event, Parser, ScalarStyle};

/// Texts up to this length are made once, however often they stand in a document.
const SHARED_BYTES: usize = 64;

/// The values of the one document in `text`; `ValueError` if it is not plain, or not well formed.
#[pyfunction]
#[pyo3(signature = (text, /))]
pub(crate) fn read_yaml<'py>(py: Python<'py>, text: &str) -> PyResult<Bound<'py, PyAny>> {
    if text.chars().any(is_read_otherwise) {
        return Err(not_plain());
    }
    let mut parser = Parser::new_from_str(text);
    let mut reader = Reader::new(py);
    let mut documents = 0;
    while let Some(event) = parser.next_event() {
        match event.map_err(|_| not_plain())?.0 {
            Event::DocumentStart(_) => documents += 1,
            // Readers differ in whether a block without a break at its end has one.
            Event::Scalar(_, ScalarStyle::Literal | ScalarStyle::Folded, ..) if !text.ends_with('\n') => {
                return Err(not_plain());
            }
            Event::Scalar(text, style, 0, None) => {
                let value = reader.scalar(text, style)?;
                reader.take(value)?;
            }
            Event::SequenceStart(0, None) => reader.open(Open::List(PyList::empty(py)))?,
            Event::MappingStart(0, None) => reader.open(Open::Table(PyDict::new(py), None))?,
            Event::Alias(_) | Event::Scalar(..) | Event::SequenceStart(..) | Event::MappingStart(..) => {
                return Err(not_plain());
            }
            Event::SequenceEnd | Event::MappingEnd => reader.close(),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        if documents > 1 {
            return Err(not_plain());
        }
    }
    Ok(reader.whole.unwrap_or_else(|| py.None().into_bound(py)))
}

fn not_plain() -> PyErr {
    PyValueError::new_err("not plain YAML")
}

/// Tabs, which may not indent; breaks of YAML 1.1 only; and what neither lets stand in a document.
fn is_read_otherwise(character: char) -> bool {
    match character {
        '\n' | '\r' | ' '..='~' => false,
        '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => true,
        other => other < '\u{a0}',
    }
}

/// A list or a table that is not complete; a table with the key whose value comes next.
enum Open<'py> {
    List(Bound<'py, PyList>),
    Table(Bound<'py, PyDict>, Option<Bound<'py, PyAny>>),
}

struct Reader<'py, 'text> {
    py: Python<'py>,
    whole: Option<Bound<'py, PyAny>>,
    open: Vec<Open<'py>>,
    known: HashMap<Cow<'text, str>, Bound<'py, PyAny>>,
}

impl<'py, 'text> Reader<'py, 'text> {
    fn new(py: Python<'py>) -> Self {
        Self {
            py,
            whole: None,
            open: Vec::new(),
            known: HashMap::new(),
        }
    }

    /// A value goes to the innermost list or table, as a key if that waits for none.
    fn take(&mut self, value: Bound<'py, PyAny>) -> PyResult<()> {
        match self.open.last_mut() {
            None => self.whole = Some(value),
            Some(Open::List(list)) => list.append(value)?,
            Some(Open::Table(table, key)) => match key.take() {
                Some(known) => {
                    let before = table.len();
                    table.set_item(known, value)?;
                    if table.len() == before {
                        return Err(not_plain());
                    }
                }
                None if value.is_exact_instance_of::<PyString>() => *key = Some(value),
                None => return Err(not_plain()),
            },
        }
        Ok(())
    }

    fn open(&mut self, inner: Open<'py>) -> PyResult<()> {
        self.take(match &inner {
            Open::List(list) => list.clone().into_any(),
            Open::Table(table, _) => table.clone().into_any(),
        })?;
        self.open.push(inner);
        Ok(())
    }

    fn close(&mut self) {
        self.open.pop();
    }

    fn scalar(&mut self, text: Cow<'text, str>, style: ScalarStyle) -> PyResult<Bound<'py, PyAny>> {
        if style != ScalarStyle::Plain {
            return Ok(PyString::new(self.py, &text).into_any());
        }
        if let Some(value) = self.known.get(&text) {
            return Ok(value.clone());
        }
        let value = resolved(self.py, &text)?;
        if text.len() < SHARED_BYTES {
            self.known.insert(text, value.clone());
        }
        Ok(value)
    }
}

/// The value of a plain scalar by the core schema (YAML 1.2 section 10.3.2).
fn resolved<'py>(py: Python<'py>, text: &str) -> PyResult<Bound<'py, PyAny>> {
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => py.None().into_bound(py),
        "true" | "True" | "TRUE" => PyBool::new(py, true).to_owned().into_any(),
        "false" | "False" | "FALSE" => PyBool::new(py, false).to_owned().into_any(),
        "<<" => return Err(not_plain()),
        _ if !may_be_a_number(text) => PyString::new(py, text).into_any(),
        _ => match number(text) {
            Number::None => PyString::new(py, text).into_any(),
            // What is longer than 64 bits is left to Python, whose integers have no end.
            Number::Integer(digits, radix) => {
                PyInt::new(py, i64::from_str_radix(digits, radix).map_err(|_| not_plain())?).into_any()
            }
            Number::Float => PyFloat::new(py, text.parse().map_err(|_| not_plain())?).into_any(),
        },
    })
}

fn may_be_a_number(text: &str) -> bool {
    matches!(text.as_bytes()[0], b'-' | b'+' | b'.' | b'0'..=b'9')
}

enum Number<'a> {
    None,
    Integer(&'a str, u32),
    Float,
}

fn number(text: &str) -> Number<'_> {
    let is_of =
        |digits: &str, kind: fn(&u8) -> bool| !digits.is_empty() && digits.as_bytes().iter().all(kind);
    for (prefix, radix, kind) in [
        (
            "0o",
            8,
            (|byte: &u8| matches!(byte, b'0'..=b'7')) as fn(&u8) -> bool,
        ),
        ("0x", 16, u8::is_ascii_hexdigit),
    ] {
        if let Some(digits) = text.strip_prefix(prefix) {
            return if is_of(digits, kind) {
                Number::Integer(digits, radix)
            } else {
                Number::None
            };
        }
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if is_of(unsigned, u8::is_ascii_digit) {
        return Number::Integer(text, 10);
    }
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (
            mantissa,
            Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent)),
        ),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let are_digits = |part: &str| part.is_empty() || is_of(part, u8::is_ascii_digit);
    let has_mantissa = !(whole.is_empty() && fraction.is_empty());
    let has_exponent = exponent.is_none_or(|digits| is_of(digits, u8::is_ascii_digit));
    if has_mantissa && has_exponent && are_digits(whole) && are_digits(fraction) {
        Number::Float
    } else {
        Number::None
    }
}
