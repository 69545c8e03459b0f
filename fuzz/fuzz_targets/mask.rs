//! Masks of targets: a path that is a secret's in some spelling, chosen by the bytes, and then any bytes. No spelling shows it.
#![no_main]

use headgate_route::TargetMask;
use libfuzzer_sys::fuzz_target;

const SECRET: &str = "5ecret";

/// A text, of which each letter is spelt as a byte says.
fn spelled(text: &str, choices: &mut impl Iterator<Item = u8>) -> String {
    let spell = |letter: u8| match choices.next().unwrap_or_default() % 4 {
        0 => char::from(letter).to_string(),
        1 => char::from(letter).to_ascii_uppercase().to_string(),
        2 => format!("%{letter:02x}"),
        _ => format!("%25{letter:02X}"),
    };
    text.bytes().map(spell).collect()
}

/// What may stand between two segments.
fn gap(choices: &mut impl Iterator<Item = u8>) -> &'static str {
    const GAPS: [&str; 8] = ["/", "//", "/./", "%2f", "/x/../", "/x/%2E./", ";a=1/", "%5c"];
    GAPS[usize::from(choices.next().unwrap_or_default()) % GAPS.len()]
}

/// Whether a second time changes nothing; with a user, who may look like one of mail then, it may mask more.
fn is_masked_once(mask: &TargetMask, target: &[u8]) -> bool {
    let once = mask.apply(target).into_owned();
    target.contains(&b'@') || mask.apply(&once).into_owned() == once
}

fuzz_target!(|bytes: &[u8]| {
    let texts = |list: &[&str]| -> Vec<String> { list.iter().map(ToString::to_string).collect() };
    let mask = TargetMask::new(&texts(&["token"]), &texts(&["/reset/{x}/done", "/off/*"]), true);
    let choices = &mut bytes.iter().copied();
    let path = format!(
        "/{}{}{}{SECRET}{}{}",
        gap(choices),
        spelled("reset", choices),
        gap(choices),
        gap(choices),
        spelled("done", choices)
    );
    let rest: Vec<u8> = choices.filter(|byte| *byte != b'#').collect();
    for target in [
        path.clone().into_bytes(),
        format!("https://a.test{path}").into_bytes(),
        [path.as_bytes(), b"?", &rest].concat(),
        [b"/?", rest.as_slice(), b"&token=", SECRET.as_bytes()].concat(),
    ] {
        let shown = mask.apply(&target).into_owned();
        let has_secret = |text: &[u8]| text.windows(SECRET.len()).any(|part| part == SECRET.as_bytes());
        assert!(
            has_secret(&rest) || !has_secret(&shown),
            "{}",
            String::from_utf8_lossy(&target)
        );
        assert!(is_masked_once(&mask, &target));
    }
    assert!(is_masked_once(&mask, bytes));
});
