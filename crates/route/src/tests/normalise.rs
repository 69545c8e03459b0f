use proptest::prelude::*;

use super::*;

fn normal(path: &str) -> String {
    let bytes = normalize_path(path.as_bytes()).expect("the path is sound");
    String::from_utf8(bytes.into_owned()).expect("a normal path is ASCII")
}

#[test]
fn test_a_normal_path_is_borrowed() {
    for path in [
        "/",
        "/a/b",
        "/a//b/",
        "/a.b/.c/..d/e...",
        "/a;b=c:@!$&'()*+,",
        "*",
    ] {
        assert!(
            matches!(normalize_path(path.as_bytes()), Ok(Cow::Borrowed(_))),
            "{path}"
        );
        assert_eq!(normal(path), path);
    }
}

#[test]
fn test_only_unreserved_escapes_are_decoded() {
    assert_eq!(normal("/%61dmin/%7Euser"), "/admin/~user");
    assert_eq!(normal("/a%2fb%3f%25"), "/a%2Fb%3F%25");
    assert_eq!(normal("/a%2541"), "/a%2541");
}

#[test]
fn test_bytes_that_must_not_stand_raw_are_escaped() {
    assert_eq!(normal("/über|x"), "/%C3%BCber%7Cx");
    assert_eq!(normal("/%c3%bcber%7cx"), "/%C3%BCber%7Cx");
}

#[test]
fn test_dot_segments_are_resolved_as_in_rfc_3986() {
    for (path, expected) in [
        ("/a/b/c/./../../g", "/a/g"),
        ("/.", "/"),
        ("/a/.", "/a/"),
        ("/a/..", "/"),
        ("/a/b/..", "/a/"),
        ("/a//../b", "/a/b"),
        ("//..", "/"),
        ("/a/...;b/..c;d", "/a/...;b/..c;d"),
        ("/a/%2e%2E/b", "/b"),
        ("/a/.%2e/b", "/b"),
    ] {
        assert_eq!(normal(path), expected, "{path}");
    }
}

#[test]
fn test_dangerous_paths_are_refused() {
    for (path, error) in [
        ("", PathError::NotAbsolute),
        ("a", PathError::NotAbsolute),
        ("**", PathError::NotAbsolute),
        ("/a%00", PathError::Nul),
        ("/a\0", PathError::Nul),
        ("/%", PathError::BadEscape),
        ("/%4", PathError::BadEscape),
        ("/%4x", PathError::BadEscape),
        ("/%+1", PathError::BadEscape),
        ("/..", PathError::AboveRoot),
        ("/a/../../b", PathError::AboveRoot),
        ("/%2e%2e/etc/passwd", PathError::AboveRoot),
        ("/public/..%2fprivate", PathError::HiddenDots),
        ("/public%2f..%2fprivate", PathError::HiddenDots),
        ("/public/%2e%2e%5cprivate", PathError::HiddenDots),
        ("/public/..\\private", PathError::HiddenDots),
        ("/public\\..\\private", PathError::HiddenDots),
        ("/public/..;/private", PathError::HiddenDots),
        ("/public/.;x=1/private", PathError::HiddenDots),
        ("/public/..%3b/private", PathError::HiddenDots),
        ("/public/..%2f", PathError::HiddenDots),
        ("/public%2f.", PathError::HiddenDots),
    ] {
        assert_eq!(normalize_path(path.as_bytes()), Err(error), "{path:?}");
    }
}

#[test]
fn test_encoded_slashes_are_kept_refused_or_decoded() {
    let under = |encoded_slashes, path: &'static str| {
        let rules = PathRules {
            encoded_slashes,
            merge_slashes: false,
        };
        let normal = rules.normalize(path.as_bytes());
        normal.map(|normal| String::from_utf8(normal.text.into_owned()).expect("a normal path is ASCII"))
    };
    for (path, kept, refused, decoded) in [
        ("/a%2fb", "/a%2Fb", Err(PathError::EncodedSlash), Ok("/a/b")),
        ("/a%5cb", "/a%5Cb", Err(PathError::EncodedSlash), Ok("/a%5Cb")),
        ("/a%20b", "/a%20b", Ok("/a%20b"), Ok("/a%20b")),
        ("/a%252fb", "/a%252fb", Ok("/a%252fb"), Ok("/a%252fb")),
    ] {
        assert_eq!(under(EncodedSlashes::Keep, path).as_deref(), Ok(kept));
        assert_eq!(under(EncodedSlashes::Refuse, path), refused.map(str::to_owned));
        assert_eq!(under(EncodedSlashes::Decode, path), decoded.map(str::to_owned));
    }
    assert_eq!(under(EncodedSlashes::Decode, "/a/..%2fb").as_deref(), Ok("/b"));
    assert_eq!(
        under(EncodedSlashes::Decode, "/..%2fb"),
        Err(PathError::AboveRoot)
    );
    assert_eq!(
        under(EncodedSlashes::Decode, "/a/..%5cb"),
        Err(PathError::HiddenDots)
    );
}

#[test]
fn test_slashes_are_merged_where_that_is_asked_for() {
    let rules = PathRules {
        merge_slashes: true,
        ..PathRules::default()
    };
    for (path, expected) in [
        ("/a//b///", "/a/b/"),
        ("//", "/"),
        ("/a//../b", "/b"),
        ("//%61", "/a"),
    ] {
        let normal = rules.normalize(path.as_bytes()).expect("the path is sound");
        assert_eq!(*normal.text, *expected.as_bytes(), "{path}");
        assert!(!normal.is_equivalent, "{path}");
    }
}

#[test]
fn test_only_spellings_that_mean_the_same_may_be_sent_on() {
    for (path, is_equivalent) in [
        ("/a/b", true),
        ("/%61/%7euser/%2f/a;b//c", true),
        ("/|", true),
        ("/a/./b", false),
        ("/a/%2e%2e/b", false),
        ("/a\\b", false),
    ] {
        let normal = PathRules::default().normalize(path.as_bytes());
        assert_eq!(
            normal.map(|normal| normal.is_equivalent),
            Ok(is_equivalent),
            "{path}"
        );
    }
}

#[test]
fn test_a_plain_path_has_no_other_reading() {
    for path in ["/a/b", "/a.b/c=d", "/a/./b"] {
        let normal = PathRules::default()
            .normalize(path.as_bytes())
            .expect("the path is sound");
        assert!(
            normal.is_plain && crate::other_readings(&normal.text).is_empty(),
            "{path}"
        );
    }
    for path in ["/a;b", "/a//b", "/a%2fb", "/a%5Cb"] {
        let normal = PathRules::default()
            .normalize(path.as_bytes())
            .expect("the path is sound");
        assert!(
            !normal.is_plain && !crate::other_readings(&normal.text).is_empty(),
            "{path}"
        );
    }
}

/// Paths made of the parts that matter, so that most runs meet escapes and dots.
fn paths() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "/", "/", ".", "..", "a", "Z", "%2e", "%2E", "%2f", "%5c", "\\", "%3b", "%41", "%25", "%", "%0",
        "%00", "é", " ", "~", ";",
    ]);
    prop::collection::vec(part, 0..12).prop_map(|parts| format!("/{}", parts.concat()))
}

proptest! {
    #[test]
    fn test_any_bytes_are_judged_without_panic(path in prop::collection::vec(any::<u8>(), 0..40)) {
        let _ = normalize_path(&path);
    }

    #[test]
    fn test_normalising_twice_changes_nothing_more(path in paths()) {
        if let Ok(once) = normalize_path(path.as_bytes()) {
            let twice = normalize_path(&once).expect("a normal path is sound");
            prop_assert!(matches!(twice, Cow::Borrowed(_)));
            prop_assert_eq!(&twice, &once);
        }
    }

    #[test]
    fn test_a_normal_path_holds_no_dot_segments_and_only_path_characters(path in paths()) {
        if let Ok(normal) = normalize_path(path.as_bytes()) {
            prop_assert_eq!(normal[0], b'/');
            prop_assert!(normal.split(|byte| *byte == b'/').all(|part| part != b"." && part != b".."));
            prop_assert!(normal.iter().all(|byte| stands_raw(*byte) || *byte == b'%'));
        }
    }

    #[test]
    fn test_escaping_a_letter_changes_nothing(path in "/[a-z/]{0,20}", at in 1_usize..20) {
        if let Some(letter) = path.as_bytes().get(at).filter(|byte| **byte != b'/') {
            let escaped = format!("{}%{letter:02x}{}", &path[..at], &path[at + 1..]);
            prop_assert_eq!(normal(&escaped), normal(&path));
        }
    }
}
