//! The fields of a message: the bytes that arrived, offsets into them, and edits appended behind them.

use std::ops::Range;

use crate::error::{shown, FieldError};
use crate::field::{Field, Fields, Name, HIDDEN, PLAIN};
use crate::grammar::{is_token, trim};
use crate::scan::value_end;

/// A range of a [`Head`]'s bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// The first byte.
    pub start: u32,
    /// How many bytes.
    pub len: u32,
}

impl Span {
    /// From positions in a head; heads are shorter than 2^32 bytes, which `lines` and `Head::append` hold.
    pub(crate) fn between(start: usize, end: usize) -> Self {
        Self {
            start: offset(start),
            len: offset(end - start),
        }
    }
}

/// A position in a head as it is stored.
#[inline]
#[allow(clippy::cast_possible_truncation)] // why: heads are bounded to MAX_BYTES when parsed and when edited
pub(crate) fn offset(position: usize) -> u32 {
    position as u32
}

/// Room behind the bytes that arrived, so that a few edits need no larger allocation.
const SPARE_BYTES: usize = 128;
const SPARE_FIELDS: usize = 4;

/// Room for what a message that is made here has: a type, an id, a cookie.
const MADE_BYTES: usize = 256;
const MADE_FIELDS: usize = 8;

/// No head grows beyond this, so that 32-bit offsets suffice.
pub(crate) const MAX_BYTES: usize = u32::MAX as usize / 2;

/// The fields of a message, in order. Owns its bytes; plain data.
///
/// Names are compared without regard to case (RFC 9110 section 5.1). Fields of the connection and of the
/// framing (RFC 9110 section 7.6.1), Host and Expect are hidden from every method here.
#[derive(Debug, Default)]
pub struct Head {
    pub(crate) bytes: Vec<u8>,
    pub(crate) fields: Fields,
}

impl Clone for Head {
    /// With room for a few edits.
    fn clone(&self) -> Self {
        Self::of(&self.bytes, self.fields.with_room(SPARE_FIELDS))
    }
}

impl Head {
    /// The head of some bytes, the first of a message.
    pub(crate) fn of(bytes: &[u8], fields: Fields) -> Self {
        let mut owned = Vec::with_capacity(bytes.len() + SPARE_BYTES);
        owned.extend_from_slice(bytes);
        Self { bytes: owned, fields }
    }

    /// A head without fields.
    pub fn empty() -> Self {
        Self::default()
    }

    /// The same, with room for the few fields of a message that is made here.
    pub fn with_room() -> Self {
        Self {
            bytes: Vec::with_capacity(MADE_BYTES),
            fields: Fields::with_capacity(MADE_FIELDS),
        }
    }

    /// The bytes of `span`; empty if it is not one of this head's.
    pub fn span(&self, span: Span) -> &[u8] {
        let start = span.start as usize;
        self.bytes
            .get(start..start + span.len as usize)
            .unwrap_or_default()
    }

    /// The first value of `name`. Does not allocate.
    #[inline]
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.get_all(name).next()
    }

    /// All values of `name`, in order.
    #[inline]
    pub fn get_all<'a, 'n>(&'a self, name: &'n [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        let lines: &[Field] = if self.fields.may_have_named(name) {
            &self.fields
        } else {
            &[]
        };
        lines
            .iter()
            .filter(move |field| self.is_visible_as(field, name))
            .map(|field| self.value(field))
    }

    /// The visible fields as (name, value), in order, edits included.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.visible().map(|field| (self.name(field), self.value(field)))
    }

    /// The same with each value as its place in [`bytes`](Self::bytes).
    pub fn places(&self) -> impl Iterator<Item = (&[u8], Range<usize>)> {
        self.visible().map(|field| {
            let start = field.value_start as usize;
            (self.name(field), start..start + field.value_len as usize)
        })
    }

    /// All that it was read from, and what was written since; not the fields alone.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// At least as many as [`iter`](Self::iter) gives, and not many more.
    pub fn count_hint(&self) -> usize {
        self.fields.len()
    }

    /// Gives `name` the one value `value`, at the place of its first field line, else at the end.
    pub fn set(&mut self, name: &[u8], value: &[u8]) -> Result<(), FieldError> {
        let field = self.append_line(name, value)?;
        self.put(field, name);
        Ok(())
    }

    /// The same with a name and a value of the gateway's own making, which are what a field may have.
    #[inline]
    pub fn set_own(&mut self, name: &'static [u8], value: &[u8]) -> Result<(), FieldError> {
        debug_assert!(is_token(name) && !Name::of(name).is_hidden() && value_end(value, 0).is_none());
        self.remove(name);
        let field = self.append_own(name, value)?;
        self.fields.push(field, name);
        Ok(())
    }

    /// Adds a field line at the end.
    pub fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), FieldError> {
        let field = self.append_line(name, value)?;
        self.fields.push(field, name);
        Ok(())
    }

    /// As [`add`](Self::add), with a name and a value as for [`set_own`](Self::set_own).
    #[inline]
    pub fn add_own(&mut self, name: &'static [u8], value: &[u8]) -> Result<(), FieldError> {
        debug_assert!(is_token(name) && !Name::of(name).is_hidden() && value_end(value, 0).is_none());
        let field = self.append_own(name, value)?;
        self.fields.push(field, name);
        Ok(())
    }

    /// Removes every field line of `name`.
    #[inline]
    pub fn remove(&mut self, name: &[u8]) {
        // nearly always there is none, and where the name is known when this is compiled that is one comparison
        if self.fields.may_have_named(name) {
            self.hide(name, 0);
        }
    }

    /// Removes the field lines, given as name and value, that `keeps` says no to.
    #[inline]
    pub fn retain(&mut self, mut keeps: impl FnMut(&[u8], &[u8]) -> bool) {
        for at in 0..self.fields.len() {
            let field = &self.fields[at];
            if field.state & HIDDEN == 0 && !keeps(self.name(field), self.value(field)) {
                self.fields[at].state |= HIDDEN;
            }
        }
    }

    /// At least as many bytes as [`write_fields`](Self::write_fields) will add, and not many more.
    pub fn len_hint(&self) -> usize {
        // a line that arrived without a space after its colon grows by one byte
        self.bytes.len() + self.fields.len()
    }

    /// Appends `Name: value CRLF` for each visible field, names as the sender wrote them.
    pub fn write_fields(&self, out: &mut Vec<u8>) {
        // Lines that arrived in the plain form and stand side by side are copied together.
        let (mut start, mut end) = (0, 0);
        for field in self.visible() {
            let name_start = field.name_start as usize;
            let line_end = (field.value_start + field.value_len) as usize + 2;
            if field.state & PLAIN == 0 {
                out.extend_from_slice(&self.bytes[start..end]);
                (start, end) = (0, 0);
                out.extend_from_slice(self.name(field));
                out.extend_from_slice(b": ");
                out.extend_from_slice(self.value(field));
                out.extend_from_slice(crate::CRLF);
            } else if name_start == end {
                end = line_end;
            } else {
                out.extend_from_slice(&self.bytes[start..end]);
                (start, end) = (name_start, line_end);
            }
        }
        out.extend_from_slice(&self.bytes[start..end]);
    }

    pub(crate) fn name(&self, field: &Field) -> &[u8] {
        let start = field.name_start as usize;
        &self.bytes[start..start + usize::from(field.name_len)]
    }

    pub(crate) fn value(&self, field: &Field) -> &[u8] {
        let start = field.value_start as usize;
        &self.bytes[start..start + field.value_len as usize]
    }

    fn visible(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(|field| field.state & HIDDEN == 0)
    }

    /// The first visible field line of `name` at or after `from`.
    fn position(&self, name: &[u8], from: usize) -> Option<usize> {
        if !self.fields.may_have_named(name) {
            return None;
        }
        let rest = self.fields.get(from..)?;
        let found = rest.iter().position(|field| self.is_visible_as(field, name));
        found.map(|offset| from + offset)
    }

    fn is_visible_as(&self, field: &Field, name: &[u8]) -> bool {
        field.state & HIDDEN == 0
            && usize::from(field.name_len) == name.len()
            && self.name(field).eq_ignore_ascii_case(name)
    }

    /// Hides the visible field lines of `name` at or after `from`.
    pub(crate) fn hide(&mut self, name: &[u8], from: usize) {
        let mut next = from;
        while let Some(index) = self.position(name, next) {
            self.fields[index].state |= HIDDEN;
            next = index + 1;
        }
    }

    /// Makes `field`, a line of `name`, the only one.
    pub(crate) fn put(&mut self, field: Field, name: &[u8]) {
        match self.position(name, 0) {
            None => self.fields.push(field, name),
            Some(first) => {
                self.fields[first] = field;
                self.hide(name, first + 1);
            }
        }
    }

    /// Puts `bytes` behind the others and says where.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<Span, FieldError> {
        let start = self.bytes.len();
        if bytes.len() > MAX_BYTES - start.min(MAX_BYTES) {
            return Err(FieldError::Full);
        }
        self.bytes.extend_from_slice(bytes);
        Ok(Span::between(start, start + bytes.len()))
    }

    pub(crate) fn append_line(&mut self, name: &[u8], value: &[u8]) -> Result<Field, FieldError> {
        if !is_token(name) {
            return Err(FieldError::Name(shown(name)));
        }
        if Name::of(name).is_hidden() {
            return Err(FieldError::Framing(shown(name)));
        }
        let value = trim(value);
        if value_end(value, 0).is_some() {
            return Err(FieldError::Value(shown(name)));
        }
        self.append_own(name, value)
    }

    /// Puts a line behind the others that is known to be valid.
    #[inline]
    fn append_own(&mut self, name: &[u8], value: &[u8]) -> Result<Field, FieldError> {
        let name_len = u16::try_from(name.len()).map_err(|_| FieldError::Name(shown(name)))?;
        let start = self.bytes.len();
        let line_len = name.len() + value.len() + 4;
        if line_len > MAX_BYTES - start.min(MAX_BYTES) {
            return Err(FieldError::Full);
        }
        self.bytes.reserve(line_len);
        for part in [name, b": ", value, crate::CRLF] {
            self.bytes.extend_from_slice(part);
        }
        Ok(Field {
            name_start: offset(start),
            value_start: offset(start + name.len() + 2),
            value_len: offset(value.len()),
            name_len,
            name: Name::Other,
            state: PLAIN,
        })
    }
}
