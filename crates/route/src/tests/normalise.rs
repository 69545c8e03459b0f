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
        ("/a/%2e%2E/b", "/b"),
        ("/a/.%2e/b", "/b"),
        ("/a/..;/b", "/a/..;/b"),
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
    ] {
        assert_eq!(normalize_path(path.as_bytes()), Err(error), "{path:?}");
    }
}

/// Paths made of the parts that matter, so that most runs meet escapes and dots.
fn paths() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "/", "/", ".", "..", "a", "Z", "%2e", "%2E", "%2f", "%41", "%25", "%", "%0", "%00", "é", " ", "~",
        ";",
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
