//! Some bytes of a body, whoever holds them: the engine, or an object of the user's code.

use std::any::Any;
use std::rc::Rc;

/// Bytes that do not change while they are held.
pub trait Piece {
    /// The bytes.
    fn bytes(&self) -> &[u8];

    /// For the hooks' implementation to find what it made itself.
    fn as_any(&self) -> &dyn Any;
}

/// A piece and whoever else reads it.
pub type Chunk = Rc<dyn Piece>;

impl Piece for Vec<u8> {
    fn bytes(&self) -> &[u8] {
        self
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
