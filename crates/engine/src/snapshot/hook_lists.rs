//! Hooks by phase, as a gateway, a route or a listener has them.

use std::fmt;
use std::ops::Index;

use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::phases::{Flag, Phase, PhaseSpec, Scope, PHASES};
use super::BodyHook;

/// Hooks by phase: indices into the table that came with the snapshot, in running order.
///
/// `lists[Phase::Log]` and `lists.body(Phase::RequestBody)` cost what a field does: the place is known when compiling.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct HookLists {
    plain: [Box<[usize]>; PHASES.len()],
    body: [Box<[BodyHook]>; BODY_PHASES],
}

/// The phases with bodies.
const BODY_PHASES: usize = body_phases_before(PHASES.len());

/// How many of the first `end` phases have bodies.
const fn body_phases_before(end: usize) -> usize {
    let (mut place, mut count) = (0, 0);
    while place < end {
        count += PHASES[place].has(Flag::HasBody) as usize;
        place += 1;
    }
    count
}

impl Index<Phase> for HookLists {
    type Output = [usize];

    /// The hooks of a phase without bodies.
    #[inline]
    fn index(&self, phase: Phase) -> &[usize] {
        debug_assert!(!phase.has(Flag::HasBody), "hooks of a body phase are in `body`");
        &self.plain[phase as usize]
    }
}

impl HookLists {
    /// The hooks of a phase with bodies.
    #[inline]
    pub fn body(&self, phase: Phase) -> &[BodyHook] {
        debug_assert!(phase.has(Flag::HasBody), "hooks of other phases are indexed");
        &self.body[BODY_SLOTS[phase as usize]]
    }

    /// Reads the lists of the gateway: hooks of requests that have no route.
    ///
    /// # Errors
    /// The map names a phase that the gateway has no hooks of, or one twice.
    pub(super) fn of_gateway<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Reader {
            of: "the gateway",
            takes: |spec| spec.has(Flag::WithoutRoute),
        })
    }

    /// Reads the lists of a route.
    ///
    /// # Errors
    /// The map names a phase that routes have no hooks of, or one twice.
    pub(super) fn of_route<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Reader {
            of: "a route",
            takes: |spec| spec.scope == Scope::Route,
        })
    }

    /// Reads the lists of a listener.
    ///
    /// # Errors
    /// The map names a phase that listeners have no hooks of, or one twice.
    pub(super) fn of_listener<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Reader {
            of: "a listener",
            takes: |spec| matches!(spec.scope, Scope::Connection | Scope::Listener),
        })
    }
}

/// Where the list of a phase with bodies is in [`HookLists`]; of no meaning for other phases.
const BODY_SLOTS: [usize; PHASES.len()] = {
    let mut slots = [0; PHASES.len()];
    let mut place = 0;
    while place < slots.len() {
        slots[place] = body_phases_before(place);
        place += 1;
    }
    slots
};

/// Reads a map of phases' names and their lists.
struct Reader {
    of: &'static str,
    takes: fn(&PhaseSpec) -> bool,
}

impl Reader {
    fn phase<E: Error>(&self, name: &str) -> Result<Phase, E> {
        let known = || PHASES.iter().filter(|spec| (self.takes)(spec));
        known()
            .find(|spec| spec.name == name)
            .map(|spec| spec.phase)
            .ok_or_else(|| {
                let known = known().map(|spec| spec.name).collect::<Vec<_>>().join(", ");
                E::custom(format_args!(
                    "`{name}` is not a phase of {}; hint: one of {known}",
                    self.of
                ))
            })
    }
}

impl<'de> Visitor<'de> for Reader {
    type Value = HookLists;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "lists of hooks by the phases of {}", self.of)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<HookLists, A::Error> {
        let mut lists = HookLists::default();
        let mut seen = [false; PHASES.len()];
        while let Some(name) = map.next_key::<String>()? {
            let phase = self.phase::<A::Error>(&name)?;
            if std::mem::replace(&mut seen[phase as usize], true) {
                return Err(A::Error::custom(format_args!("duplicate phase `{name}`")));
            }
            if phase.has(Flag::HasBody) {
                lists.body[BODY_SLOTS[phase as usize]] = map.next_value()?;
            } else {
                lists.plain[phase as usize] = map.next_value()?;
            }
        }
        Ok(lists)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Read = serde_json::Result<HookLists>;

    fn gateway(json: &str) -> Read {
        HookLists::of_gateway(&mut serde_json::Deserializer::from_str(json))
    }

    fn route(json: &str) -> Read {
        HookLists::of_route(&mut serde_json::Deserializer::from_str(json))
    }

    fn listener(json: &str) -> Read {
        HookLists::of_listener(&mut serde_json::Deserializer::from_str(json))
    }

    fn refusal(read: Read) -> String {
        read.expect_err("it is refused").to_string()
    }

    #[test]
    fn each_list_is_found_under_its_phase_and_no_other() {
        let whole = |hook| format!(r#"[{{"hook": {hook}, "mode": "buffer", "limit": 9, "decode": true}}]"#);
        let routes = || PHASES.iter().filter(|spec| spec.scope == Scope::Route);
        let members: Vec<_> = routes()
            .map(|spec| {
                let hook = spec.phase as usize;
                let list = if spec.has(Flag::HasBody) {
                    whole(hook)
                } else {
                    format!("[{hook}]")
                };
                format!("\"{}\": {list}", spec.name)
            })
            .collect();
        let lists = route(&format!("{{{}}}", members.join(","))).unwrap();
        for spec in routes() {
            let found: Vec<_> = if spec.has(Flag::HasBody) {
                lists.body(spec.phase).iter().map(|hook| hook.hook).collect()
            } else {
                lists[spec.phase].to_vec()
            };
            assert_eq!(found, [spec.phase as usize], "{}", spec.name);
        }
        assert!(lists[Phase::Rewrite].is_empty() && lists[Phase::Match].is_empty());
    }

    #[test]
    fn hooks_keep_their_order() {
        assert_eq!(gateway(r#"{"log": [3, 1, 2]}"#).unwrap()[Phase::Log], [3, 1, 2]);
        assert_eq!(
            listener(r#"{"connect": [2, 0]}"#).unwrap()[Phase::Connect],
            [2, 0]
        );
    }

    #[test]
    fn a_phase_is_refused_by_name_where_it_has_no_hooks() {
        let said = refusal(gateway(r#"{"request": [0]}"#));
        assert!(
            said.starts_with("`request` is not a phase of the gateway; hint: one of rewrite, error, log"),
            "{said}"
        );
        for name in ["rewrite", "match", "connect", "startup", "nothing"] {
            let said = refusal(route(&format!("{{\"{name}\": []}}")));
            assert!(
                said.starts_with(&format!("`{name}` is not a phase of a route;")),
                "{said}"
            );
        }
        assert!(refusal(listener(r#"{"log": []}"#)).starts_with("`log` is not a phase of a listener;"));
        assert!(refusal(route(r#"{"log": [], "log": []}"#)).starts_with("duplicate phase `log`"));
        assert!(refusal(route(r#"{"request_body": [1]}"#)).starts_with("invalid type: integer `1`"));
    }

    #[test]
    fn a_phase_knows_its_row() {
        for (place, spec) in PHASES.iter().enumerate() {
            assert_eq!(spec.phase as usize, place);
            assert_eq!(Phase::from_name(spec.name), Some(spec.phase));
            assert_eq!(spec.phase.name(), spec.name);
        }
        assert_eq!(Phase::from_name("startup"), None);
    }
}
