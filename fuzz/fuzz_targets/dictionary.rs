//! Operations on a small shared dictionary, as the bytes say: no panic, what was just set is there, the structure stays
//! whole.
#![no_main]

use headgate_shared::{Dictionary, End, Number, Owned, Value, MIN_BYTES};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let dictionary = Dictionary::create(MIN_BYTES).expect("the system gives a memfd");
    // an operation, a key, a size, an option
    for step in bytes.chunks_exact(4) {
        let key = [step[1] % 32; 40];
        let key = &key[..1 + usize::from(step[1] / 32) * 5];
        let value = vec![step[3]; usize::from(step[2]) * 5];
        let end = if step[3] % 2 == 0 { End::Left } else { End::Right };
        let one = Number::Int(1);
        match step[0] % 12 {
            0..=2 => {
                dictionary.set(key, Value::Bytes(&value), 0).expect("others go");
                assert_eq!(dictionary.get(key), Ok(Some(Owned::Bytes(value))));
            }
            3 => drop(dictionary.add(key, Value::Text(&value), u64::from(step[3]))),
            4 => drop(dictionary.replace(key, Value::Int(7), 0)),
            5 => drop(dictionary.incr(key, one, Some(one), u64::from(step[3] % 2))),
            6 | 7 => drop(dictionary.push(end, key, Value::Json(&value))),
            8 => drop(dictionary.pop(end, key)),
            9 => {
                dictionary.delete(key).expect("nobody keeps it");
                assert_eq!(dictionary.get(key), Ok(None));
            }
            10 => drop(dictionary.acquire(key, u64::from(step[2] % 4), 0)),
            _ => drop(dictionary.release(key, u64::from(step[2] % 4))),
        }
    }
    dictionary.audit().expect("all fits together");
});
