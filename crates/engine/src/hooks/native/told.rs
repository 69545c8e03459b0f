//! What hooks have told by `request.state`.

use std::rc::Rc;

/// Tells what hooks have set an attribute of `request.state` to.
pub type Said<'a> = dyn Fn(&str) -> Told + 'a;

/// An attribute of `request.state`.
pub enum Told {
    /// No hook has set it.
    Unset,
    /// A text.
    Text(Rc<str>),
    /// Something else.
    Other,
}
