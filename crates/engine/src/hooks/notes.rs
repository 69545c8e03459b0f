//! What native actions keep for a request: for later actions of the same plugin, and for hooks.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use serde::Deserialize;

/// See the module. Empty for most requests, and then costs nothing.
#[derive(Default)]
pub struct Notes {
    kept: RefCell<Vec<(Rc<str>, Note)>>,
    /// What hooks find in `request.state`.
    state: RefCell<Vec<StateNote>>,
    /// How many of these they have been told.
    told: Cell<usize>,
}

/// A name that is given to many requests, so that no copy is made for each.
#[derive(Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(from = "String")]
pub(crate) struct Name(pub(crate) Rc<str>);

impl From<String> for Name {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

/// What one action tells another.
#[derive(Debug, Clone)]
pub(crate) enum Note {
    Text(Box<str>),
    /// That an action ran, and no hook.
    Mark,
    /// Which one of several an action has chosen, if any.
    Place(Option<usize>),
    /// Something that ends with its note.
    #[allow(dead_code, reason = "it is dropped, never read")]
    Held(Rc<dyn Any>),
    /// How many requests are left of a rate, and in how many seconds all are there again.
    Rate((u64, u64)),
    /// For each rate how many requests are left, and in how many seconds all are there again.
    Rates(Box<[(u64, u64)]>),
}

/// A value of `request.state`.
#[derive(Clone)]
pub struct StateNote {
    /// The attribute.
    pub name: Rc<str>,
    /// Its value.
    pub value: Rc<str>,
    /// Whether what a hook has set stays.
    pub is_default: bool,
}

impl Notes {
    /// Keeps a note under a key.
    pub(crate) fn keep(&self, key: &Rc<str>, note: Note) {
        self.kept.borrow_mut().push((Rc::clone(key), note));
    }

    /// What `read` makes of the last note of a key.
    pub(crate) fn read<T>(&self, key: &str, read: impl FnOnce(&Note) -> Option<T>) -> Option<T> {
        let kept = self.kept.borrow();
        let (_, note) = kept.iter().rev().find(|(known, _)| **known == *key)?;
        read(note)
    }

    /// Ends the last note of a key; false if there is none.
    pub(crate) fn end(&self, key: &str) -> bool {
        let mut kept = self.kept.borrow_mut();
        let place = kept.iter().rposition(|(known, _)| **known == *key);
        let ended = place.map(|place| kept.remove(place));
        drop(kept);
        ended.is_some()
    }

    /// Ends all notes: the request is over.
    pub(crate) fn clear(&self) {
        let kept = self.kept.take();
        drop(kept);
    }

    /// Says something to hooks.
    pub(crate) fn say(&self, note: StateNote) {
        self.state.borrow_mut().push(note);
    }

    /// A value that was said to hooks, which may have changed it since.
    pub(crate) fn said(&self, name: &str) -> Option<Rc<str>> {
        last(&self.state.borrow(), name)
    }

    /// A value that hooks have not been told yet, and so cannot have changed.
    pub(crate) fn untold_value(&self, name: &str) -> Option<Rc<str>> {
        last(&self.state.borrow()[self.told.get()..], name)
    }

    /// What hooks have not been told yet.
    pub fn untold(&self) -> Vec<StateNote> {
        let state = self.state.borrow();
        let untold = state[self.told.get()..].to_vec();
        self.told.set(state.len());
        untold
    }
}

fn last(notes: &[StateNote], name: &str) -> Option<Rc<str>> {
    let note = notes.iter().rev().find(|note| *note.name == *name)?;
    Some(Rc::clone(&note.value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_note_of_a_key_counts_and_state_is_told_once() {
        let notes = Notes::default();
        let (a, b): (Rc<str>, Rc<str>) = ("a".into(), "b".into());
        for text in ["first", "second"] {
            notes.keep(&a, Note::Text(text.into()));
        }
        notes.keep(&b, Note::Text("other".into()));
        let text = |key: &str| {
            notes.read(key, |note| match note {
                Note::Text(text) => Some(text.to_string()),
                _ => None,
            })
        };
        assert_eq!(text("a").as_deref(), Some("second"));
        assert_eq!(text("c"), None);
        assert!(notes.end("a") && !notes.end("c"));
        assert_eq!(text("a").as_deref(), Some("first"));
        assert!(notes.untold().is_empty());
        notes.say(StateNote {
            name: a,
            value: "v".into(),
            is_default: true,
        });
        assert_eq!(notes.untold_value("a").as_deref(), Some("v"));
        assert_eq!(notes.untold().len(), 1);
        assert_eq!(notes.untold_value("a"), None);
        assert_eq!(notes.said("a").as_deref(), Some("v"));
        assert!(notes.untold().is_empty());
    }
}
