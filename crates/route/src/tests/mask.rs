use proptest::prelude::*;

use super::*;

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

fn mask(paths: &[&str]) -> TargetMask {
    TargetMask::new(&texts(&["token", "api_key"]), &texts(paths), !paths.is_empty())
}

fn shown(mask: &TargetMask, target: &str) -> String {
    String::from_utf8(mask.apply(target.as_bytes()).into_owned()).expect("it is UTF-8")
}

#[test]
fn test_values_of_the_named_parameters_are_masked_and_nothing_else() {
    for (target, expected) in [
        ("/?token=abc", "/?token=***"),
        ("/?a=1&token=abc&b=2", "/?a=1&token=***&b=2"),
        ("/?token=a&token=b&api_key=", "/?token=***&token=***&api_key=***"),
        ("/?TOKEN=abc", "/?TOKEN=***"),
        ("/?%74oke%6E=abc", "/?%74oke%6E=***"),
        ("/?%2574oken=abc", "/?%2574oken=***"),
        ("/?+token%20=abc", "/?+token%20=***"),
        ("/?token=a=b%26c", "/?token=***"),
        ("/?a=1;token=b;c=d&e=f", "/?a=1;token=***&e=f"),
        (
            "/?user[token]=a&login.token=b",
            "/?user[token]=***&login.token=***",
        ),
        ("/a;token=b/c", "/a;token=***/c"),
        (
            "https://me:s@a.test/x?token=abc#part&token=d",
            "https://***@a.test/x?token=***#part&token=***",
        ),
        ("/?x?token=abc&token=abc?", "/?x?token=abc&token=***"),
        ("https://a.test/#/cb?token=s", "https://a.test/#/cb?token=***"),
    ] {
        assert_eq!(shown(&mask(&[]), target), expected);
    }
    for same in [
        "/reset/a@b.example",
        "/?token",
        "/?tokens=a",
        "/?toke=a",
        "/?%7=a",
        "/?%zzoken=a",
        "/?",
        "",
        "/?&&=&",
        "*",
        "#",
        "?",
        "a.test:443",
        "/a?b#c?d",
        "a=b",
        "/?%25%32%35=a",
    ] {
        let mask = mask(&[]);
        assert!(matches!(mask.apply(same.as_bytes()), Cow::Borrowed(_)), "{same}");
    }
}

#[test]
fn test_without_names_and_paths_nothing_is_masked() {
    for target in ["/?token=abc", "https://me:s@a.test/", "/eyJa.b.c"] {
        let nothing = TargetMask::default().apply(target.as_bytes()).into_owned();
        assert_eq!(nothing, target.as_bytes());
    }
}

#[test]
fn test_names_of_other_letters_have_no_case_either() {
    let mask = TargetMask::new(&texts(&["Größe"]), &[], false);
    assert_eq!(
        shown(&mask, "/?GR%C3%96SSE=1&gr%c3%b6%c3%9fe=2&%ff=3"),
        "/?GR%C3%96SSE=1&gr%c3%b6%c3%9fe=***&%ff=3"
    );
}

const PATHS: [&str; 3] = ["/reset/{token}/done", "/off/*", "/ä/{x}"];

#[test]
fn test_segments_of_the_named_paths_are_masked_and_nothing_else() {
    let mask = mask(&PATHS);
    for (target, expected) in [
        ("/reset/s/done?x=1", "/reset/***/done?x=1"),
        ("https://a.test/reset/s/done#x", "https://a.test/reset/***/done#x"),
        ("//a.test/reset/s/done", "//a.test/reset/***/done"),
        ("/off/s/s?token=s", "/off/***/***?token=***"),
        ("/%C3%a4/s", "/%C3%a4/***"),
        ("/u/me%40site.example/x", "/u/***/x"),
        ("/u/eyJhbGciOi.eyJzdWIi.c2ln", "/u/***"),
    ] {
        assert_eq!(shown(&mask, target), expected);
    }
    for same in [
        "/reset/done",
        "/reset/s/other",
        "/reset/s/done/more",
        "/off",
        "/off/",
        "/x/off/a",
        "https://a.test",
        "*",
    ] {
        assert!(matches!(mask.apply(same.as_bytes()), Cow::Borrowed(_)), "{same}");
    }
}

#[test]
fn test_no_spelling_of_a_path_shows_its_secret() {
    let mask = mask(&PATHS);
    for path in [
        "/reset/SECRET/done/",
        "//reset/SECRET/done",
        "/reset//SECRET/./done",
        "/x/../reset/SECRET/done",
        "/reset%2FSECRET%2Fdone",
        "/reset;a=1/SECRET/done",
        "/off//SECRET",
        "/u/SECRET@b.example;v=1",
        "/u/SECRET@b.example.",
        "/t/eyJhbGciOi.a.b.c.SECRET",
        "/t/eyJhbGciOi.SECRET.c.json",
        "/RESET/SECRET/Done",
        "/x/%2e%2E/reset/SECRET/done",
        "/%2572eset/SECRET/done",
        "/reset%5CSECRET%5Cdone",
        "/x/..;a=b/reset/SECRET/done",
        "/off/SECRET/../a",
        "/off/a/../SECRET",
        "/reset/SECRET;a=1/done;b",
        "/reset/.;a/SECRET/done",
    ] {
        for begin in ["", "https://a.test", "//a.test", "https://me:s@a.test"] {
            let target = format!("{begin}{path}");
            let made = shown(&mask, &target);
            assert!(
                !made.contains("SECRET") && made.contains("***"),
                "{target}: {made}"
            );
        }
    }
}

/// A text, of which each byte may be encoded, once or twice.
fn spelled(text: &'static str) -> impl Strategy<Value = String> {
    let spell = |byte: u8| {
        prop_oneof![
            Just((byte as char).to_string()),
            Just((byte as char).to_ascii_uppercase().to_string()),
            Just(format!("%{byte:02x}")),
            Just(format!("%{byte:02X}")),
            Just(format!("%25{byte:02x}")),
        ]
    };
    text.bytes()
        .map(spell)
        .collect::<Vec<_>>()
        .prop_map(|parts| parts.concat())
}

/// What may stand between two segments and changes nothing.
fn gap() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("/"),
        Just("/./"),
        Just("//"),
        Just("%2f"),
        Just("/x/../"),
        Just("/x/%2E./"),
        Just(";a=1/")
    ];
    prop::collection::vec(piece, 1..3).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn test_spellings_of_secret_paths_show_nothing(
        (before, reset, between, after, done) in (gap(), spelled("reset"), gap(), gap(), spelled("done"))
    ) {
        let target = format!("/{before}{reset}{between}5ecret{after}{done}?a=1");
        let made = shown(&mask(&PATHS), &target);
        prop_assert!(!made.contains("5ecret"), "{} -> {}", target, made);
    }

    #[test]
    fn test_spellings_of_names_show_nothing(name in spelled("token"), other in "[a-z&=;?/]{0,8}") {
        let target = format!("/?{other}&{name}=5ecret&a");
        let made = shown(&mask(&[]), &target);
        prop_assert!(!made.contains("5ecret"), "{} -> {}", target, made);
    }

    #[test]
    fn test_what_is_masked_is_masked_once(bytes in "[a-z=&;?#/.%{}:0-9 ]{0,64}") {
        for mask in [mask(&PATHS), mask(&[])] {
            let once = mask.apply(bytes.as_bytes()).into_owned();
            prop_assert_eq!(mask.apply(&once).into_owned(), once.clone());
        }
    }

    #[test]
    fn test_any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = mask(&PATHS).apply(&bytes);
        let _ = mask(&PATHS).apply_to_query(&bytes);
    }
}
