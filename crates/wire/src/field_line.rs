//! Field lines that go into many heads: checked and made once.

use crate::error::FieldError;
use crate::field::{Field, Name, PLAIN};
use crate::head::{offset, Head, MAX_BYTES};

/// A field line that any head can have.
#[derive(Clone, Debug)]
pub struct FieldLine {
    bytes: Box<[u8]>,
    name_len: u16,
}

impl FieldLine {
    /// The line of a name and a value.
    ///
    /// # Errors
    /// What [`Head::set`] refuses.
    pub fn new(name: &[u8], value: &[u8]) -> Result<Self, FieldError> {
        let mut head = Head::empty();
        let name_len = head.append_line(name, value)?.name_len;
        Ok(Self {
            bytes: head.bytes.into_boxed_slice(),
            name_len,
        })
    }

    /// Its name.
    #[inline]
    pub fn name(&self) -> &[u8] {
        &self.bytes[..usize::from(self.name_len)]
    }
}

impl Head {
    /// As [`set`](Self::set).
    ///
    /// # Errors
    /// There is no room.
    pub fn set_line(&mut self, line: &FieldLine) -> Result<(), FieldError> {
        let field = self.append_made(line)?;
        self.put(field, line.name());
        Ok(())
    }

    /// As [`add`](Self::add).
    ///
    /// # Errors
    /// There is no room.
    pub fn add_line(&mut self, line: &FieldLine) -> Result<(), FieldError> {
        let field = self.append_made(line)?;
        self.fields.push(field, line.name());
        Ok(())
    }

    fn append_made(&mut self, line: &FieldLine) -> Result<Field, FieldError> {
        let start = self.bytes.len();
        if line.bytes.len() > MAX_BYTES - start.min(MAX_BYTES) {
            return Err(FieldError::Full);
        }
        self.bytes.extend_from_slice(&line.bytes);
        let value_at = usize::from(line.name_len) + 2;
        Ok(Field {
            name_start: offset(start),
            value_start: offset(start + value_at),
            value_len: offset(line.bytes.len() - value_at - 2),
            name_len: line.name_len,
            name: Name::Other,
            state: PLAIN,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_do_what_names_and_values_do() {
        let (mut by_line, mut by_text) = (Head::empty(), Head::empty());
        for (name, value, is_set) in [
            ("x-a", "1", true),
            ("X-B", " two ", false),
            ("x-b", "", false),
            ("X-A", "3", true),
            ("x-b", "4", true),
        ] {
            let line = FieldLine::new(name.as_bytes(), value.as_bytes()).unwrap();
            assert_eq!(line.name(), name.as_bytes());
            if is_set {
                by_line.set_line(&line).unwrap();
                by_text.set(name.as_bytes(), value.as_bytes()).unwrap();
            } else {
                by_line.add_line(&line).unwrap();
                by_text.add(name.as_bytes(), value.as_bytes()).unwrap();
            }
            let (mut lines, mut texts) = (Vec::new(), Vec::new());
            by_line.write_fields(&mut lines);
            by_text.write_fields(&mut texts);
            assert_eq!(lines, texts);
        }
        assert_eq!(by_line.iter().count(), 2);
    }

    #[test]
    fn what_no_head_can_have_is_no_line() {
        for (name, value) in [("x a", "1"), ("x-a", "1\n"), ("content-length", "1"), ("", "")] {
            assert!(
                FieldLine::new(name.as_bytes(), value.as_bytes()).is_err(),
                "{name}"
            );
        }
    }
}
