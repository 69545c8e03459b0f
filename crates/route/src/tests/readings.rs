use super::*;

fn readings(path: &str) -> Vec<String> {
    let text = |reading: Vec<u8>| String::from_utf8(reading).expect("a normal path is ASCII");
    other_readings(path.as_bytes()).into_iter().map(text).collect()
}

#[test]
fn test_a_plain_path_is_read_in_one_way() {
    for path in ["/", "/a/b", "/a/b/", "*", "/a%20b", "/a%3Bb", "/a.b/..c"] {
        assert_eq!(readings(path), [""; 0], "{path}");
    }
}

#[test]
fn test_what_lenient_servers_read() {
    for (path, expected) in [
        ("/private%2Fx", &["/private/x"][..]),
        ("/private%5Cx", &["/private/x"]),
        ("/private;v=1/x", &["/private/x"]),
        ("/;a/private", &["/private"]),
        ("/a//b", &["/a/b"]),
        ("//private/x", &["/private/x", "/x"]),
        ("//host", &["/host", "/"]),
        ("//host//private;x", &["/host/private", "/private"]),
        ("/%2Fhost/private", &["/host/private"]),
    ] {
        assert_eq!(readings(path), expected, "{path}");
    }
}

#[test]
fn test_a_reading_has_no_other_reading() {
    for path in ["//a;b%2Fc//d", "/a%2F%2Fb;c", "/%5C%2F;"] {
        for reading in other_readings(path.as_bytes()) {
            assert_eq!(other_readings(&reading).len(), 0, "{path}");
        }
    }
}
