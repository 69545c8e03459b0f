//! Random operations against a model made of the standard library's maps and lists.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Set(u8, Owned, u64),
    Add(u8, Owned, u64),
    Replace(u8, Owned, u64),
    Incr(u8, i64, Option<i64>, u64),
    Delete(u8),
    Get(u8),
    Push(u8, bool, Owned),
    Pop(u8, bool),
    Expire(u8, u64),
    Wait(u64),
    Flush(bool),
}

fn values() -> impl Strategy<Value = Owned> {
    prop_oneof![
        any::<bool>().prop_map(Owned::Bool),
        (-5i64..5).prop_map(Owned::Int),
        Just(Owned::None),
        Just(Owned::Float(1.5)),
        prop::collection::vec(any::<u8>(), 0..200).prop_map(Owned::Bytes),
        "[a-z]{0,20}".prop_map(|text| Owned::Text(text.into_bytes())),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0u8..12;
    let ttl = prop_oneof![Just(0u64), 1u64..50];
    let step = prop_oneof![
        4 => (key.clone(), values(), ttl.clone()).prop_map(|(k, v, t)| Step::Set(k, v, t)),
        1 => (key.clone(), values(), ttl.clone()).prop_map(|(k, v, t)| Step::Add(k, v, t)),
        1 => (key.clone(), values(), ttl.clone()).prop_map(|(k, v, t)| Step::Replace(k, v, t)),
        3 => (key.clone(), -3i64..3, prop::option::of(0i64..3), ttl.clone())
            .prop_map(|(k, n, i, t)| Step::Incr(k, n, i, t)),
        2 => key.clone().prop_map(Step::Delete),
        3 => key.clone().prop_map(Step::Get),
        3 => (key.clone(), any::<bool>(), values()).prop_map(|(k, e, v)| Step::Push(k, e, v)),
        3 => (key.clone(), any::<bool>()).prop_map(|(k, e)| Step::Pop(k, e)),
        1 => (key, ttl).prop_map(|(k, t)| Step::Expire(k, t)),
        1 => (1u64..30).prop_map(Step::Wait),
        1 => (0..20u8).prop_map(|n| Step::Flush(n == 0)),
    ];
    prop::collection::vec(step, 1..120)
}

#[derive(Debug, Clone, PartialEq)]
enum Held {
    One(Owned),
    Many(VecDeque<Owned>),
}

#[derive(Default)]
struct Model(BTreeMap<Vec<u8>, (Held, u64)>);

impl Model {
    fn live(&mut self, key: &[u8]) -> Option<&mut Held> {
        self.0
            .get_mut(key)
            .filter(|(_, expiry)| *expiry == 0 || *expiry > now())
            .map(|(held, _)| held)
    }

    fn put(&mut self, key: Vec<u8>, held: Held, ttl: u64) {
        self.0.insert(key, (held, if ttl == 0 { 0 } else { now() + ttl }));
    }
}

fn key(number: u8) -> Vec<u8> {
    vec![b'a' + number; 1 + usize::from(number) * 7]
}

fn end(is_left: bool) -> End {
    if is_left {
        End::Left
    } else {
        End::Right
    }
}

fn borrowed(value: &Owned) -> Value<'_> {
    match value {
        Owned::None => Value::None,
        Owned::Bool(yes) => Value::Bool(*yes),
        Owned::Int(n) => Value::Int(*n),
        Owned::Float(x) => Value::Float(*x),
        Owned::Bytes(bytes) => Value::Bytes(bytes),
        Owned::Text(bytes) => Value::Text(bytes),
        Owned::Json(bytes) => Value::Json(bytes),
    }
}

/// Does a step to both, and compares what they say.
#[allow(clippy::too_many_lines, reason = "one arm a step")]
fn take(step: Step, real: &Dictionary, model: &mut Model) {
    match step {
        Step::Set(k, value, ttl) => {
            assert_eq!(real.set(&key(k), borrowed(&value), ttl), Ok(()));
            model.put(key(k), Held::One(value), ttl);
        }
        Step::Add(k, value, ttl) => {
            let is_new = model.live(&key(k)).is_none();
            assert_eq!(real.add(&key(k), borrowed(&value), ttl), Ok(is_new));
            if is_new {
                model.put(key(k), Held::One(value), ttl);
            }
        }
        Step::Replace(k, value, ttl) => {
            let is_there = model.live(&key(k)).is_some();
            assert_eq!(real.replace(&key(k), borrowed(&value), ttl), Ok(is_there));
            if is_there {
                model.put(key(k), Held::One(value), ttl);
            }
        }
        Step::Incr(k, by, init, ttl) => {
            let got = real.incr(&key(k), Number::Int(by), init.map(Number::Int), ttl);
            match model.live(&key(k)) {
                Some(Held::One(Owned::Int(n))) => {
                    *n += by;
                    assert_eq!(got, Ok(Number::Int(*n)));
                }
                #[allow(clippy::cast_precision_loss, reason = "a small number")]
                Some(Held::One(Owned::Float(x))) => {
                    *x += by as f64;
                    assert_eq!(got, Ok(Number::Float(*x)));
                }
                Some(_) => assert!(got.is_err()),
                None => match init {
                    Some(init) => {
                        assert_eq!(got, Ok(Number::Int(init + by)));
                        model.put(key(k), Held::One(Owned::Int(init + by)), ttl);
                    }
                    None => assert_eq!(got, Err(Refused::Absent)),
                },
            }
        }
        Step::Delete(k) => {
            let was_there = model.live(&key(k)).is_some();
            assert_eq!(real.delete(&key(k)), Ok(was_there));
            model.0.remove(&key(k));
        }
        Step::Get(k) => match model.live(&key(k)).cloned() {
            None => assert_eq!((real.get(&key(k)), real.list_len(&key(k))), (Ok(None), Ok(0))),
            Some(Held::One(value)) => assert_eq!(real.get(&key(k)), Ok(Some(value))),
            Some(Held::Many(values)) => assert_eq!(real.list_len(&key(k)), Ok(values.len())),
        },
        Step::Push(k, is_left, value) => {
            let got = real.push(end(is_left), &key(k), borrowed(&value));
            match model.live(&key(k)) {
                Some(Held::One(_)) => assert_eq!(got, Err(Refused::Kind { is_list: false })),
                Some(Held::Many(values)) => {
                    if is_left {
                        values.push_front(value);
                    } else {
                        values.push_back(value);
                    }
                    assert_eq!(got, Ok(values.len()));
                }
                None => {
                    assert_eq!(got, Ok(1));
                    model.put(key(k), Held::Many([value].into()), 0);
                }
            }
        }
        Step::Pop(k, is_left) => {
            let got = real.pop(end(is_left), &key(k));
            match model.live(&key(k)) {
                Some(Held::One(_)) => assert_eq!(got, Err(Refused::Kind { is_list: false })),
                Some(Held::Many(values)) => {
                    let value = if is_left {
                        values.pop_front()
                    } else {
                        values.pop_back()
                    };
                    let is_empty = values.is_empty();
                    assert_eq!(got, Ok(value));
                    if is_empty {
                        model.0.remove(&key(k));
                    }
                }
                None => assert_eq!(got, Ok(None)),
            }
        }
        Step::Expire(k, ttl) => {
            let is_there = model.live(&key(k)).is_some();
            assert_eq!(real.expire(&key(k), ttl), Ok(is_there));
            if let (true, Some((_, expiry))) = (is_there, model.0.get_mut(&key(k))) {
                *expiry = if ttl == 0 { 0 } else { now() + ttl };
            }
        }
        Step::Wait(ms) => wait(ms),
        Step::Flush(is_all) => {
            if is_all {
                real.flush_all().expect("the lock is free");
                model.0.clear();
            } else {
                real.flush_expired(usize::MAX).expect("the lock is free");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn test_it_does_as_the_model_does(steps in steps()) {
        let real = dictionary(256 << 10);
        let mut model = Model::default();
        for step in steps {
            take(step, &real, &mut model);
        }
        real.audit().map_err(TestCaseError::fail)?;
        let mut keys = real.keys(usize::MAX).expect("the lock is free");
        keys.sort();
        let all: Vec<_> = model.0.keys().cloned().collect();
        let live: Vec<_> = all.into_iter().filter(|key| model.live(key).is_some()).collect();
        prop_assert_eq!(keys, live);
    }

    #[test]
    fn test_it_stays_whole_when_it_is_always_full(
        entries in prop::collection::vec((0u8..60, 0usize..900, any::<bool>()), 1..300)
    ) {
        let real = dictionary(MIN_BYTES);
        let bytes = [9; 900];
        for (name, size, is_list) in entries {
            let key = [if is_list { b'l' } else { b'v' }, name];
            if is_list {
                // full of this very list: it is refused
                drop(real.push(End::Right, &key, Value::Bytes(&bytes[..size])));
            } else {
                real.set(&key, Value::Bytes(&bytes[..size]), 0).expect("others go");
                prop_assert_eq!(real.get(&key), Ok(Some(Owned::Bytes(bytes[..size].to_vec()))));
            }
            real.audit().map_err(TestCaseError::fail)?;
        }
    }
}
