//! Which hooks want to see a body.

use std::borrow::Cow;
use std::rc::Rc;

use crate::hooks::exchange::Exchange;
use crate::hooks::Hooks;
use crate::snapshot::BodyHook;

/// Those of some hooks that are to see the body of an exchange, as far as is known when it begins.
pub(crate) fn wanting<'a>(
    list: &'a [BodyHook],
    hooks: &dyn Hooks,
    exchange: &Rc<Exchange>,
) -> Cow<'a, [BodyHook]> {
    if list.iter().all(|one| hooks.wants_body(one.hook, exchange)) {
        return Cow::Borrowed(list);
    }
    let wanting = list.iter().filter(|one| hooks.wants_body(one.hook, exchange));
    Cow::Owned(wanting.cloned().collect())
}
