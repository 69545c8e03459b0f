use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, UNIX_EPOCH};

use super::*;

const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const NOW: u64 = 1_790_000_000;

struct Site {
    directory: tempfile::TempDir,
    root: FileRoot,
}

fn site() -> Site {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path();
    fs::create_dir_all(path.join("docs/a: b")).expect("directories");
    fs::create_dir(path.join(".well-known")).expect("directory");
    write(path, "page.html", b"0123456789");
    write(path, "empty.txt", b"");
    write(path, "large.bin", &vec![7; 100_000]);
    write(path, "docs/index.html", b"docs");
    write(path, ".env", b"secret");
    write(path, ".well-known/security.txt", b"contact");
    symlink("/etc/passwd", path.join("passwd")).expect("symlink");
    let root = FileRoot::open(path, vec!["index.html".to_owned()]).expect("opens");
    Site { directory, root }
}

fn write(directory: &Path, name: &str, bytes: &[u8]) {
    fs::write(directory.join(name), bytes).expect("file");
    let file = File::options()
        .write(true)
        .open(directory.join(name))
        .expect("opens");
    file.set_modified(UNIX_EPOCH + Duration::from_secs(784_111_777))
        .expect("sets the time");
}

impl Site {
    fn get(&self, path: &str) -> FileResponse {
        self.get_if(path, Conditions::default())
    }

    fn get_if(&self, path: &str, conditions: Conditions<'_>) -> FileResponse {
        let conditions = Conditions {
            now_unix_seconds: NOW,
            ..conditions
        };
        self.root.serve(b"GET", path.as_bytes(), &conditions)
    }
}

impl FileResponse {
    fn header(&self, wanted: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(name, _)| *name == wanted)
            .map(|(_, value)| value.as_str())
    }

    fn bytes(&self) -> &[u8] {
        match &self.body {
            FileBody::Bytes(bytes) => bytes,
            _ => b"",
        }
    }
}

#[test]
fn file_comes_with_its_type_and_validators() {
    let response = site().get("/page.html");
    assert_eq!((response.status, response.bytes()), (200, &b"0123456789"[..]));
    assert_eq!(response.content_length, Some(10));
    assert_eq!(response.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(response.header("last-modified"), Some(MODIFIED));
    assert_eq!(response.header("accept-ranges"), Some("bytes"));
    assert_eq!(response.header("etag"), Some("\"2ebc98a1-0-a\""));
}

#[test]
fn large_file_is_left_to_the_sender() {
    let response = site().get_if(
        "/large.bin",
        Conditions {
            range: Some(b"bytes=10-50009"),
            ..Conditions::default()
        },
    );
    assert_eq!(response.header("content-range"), Some("bytes 10-50009/100000"));
    let FileBody::File { start, len, .. } = response.body else {
        panic!("a file")
    };
    assert_eq!((response.status, start, len), (206, 10, 50_000));
}

#[test]
fn empty_file_is_served() {
    let response = site().get("/empty.txt");
    assert_eq!((response.status, response.content_length), (200, Some(0)));
}

#[test]
fn head_declares_the_length_and_ignores_ranges() {
    let conditions = Conditions {
        range: Some(b"bytes=0-1"),
        now_unix_seconds: NOW,
        ..Conditions::default()
    };
    let response = site().root.serve(b"HEAD", b"/page.html", &conditions);
    assert_eq!((response.status, response.content_length), (200, Some(10)));
    assert!(matches!(response.body, FileBody::None));
}

#[test]
fn other_methods_are_told_what_is_allowed() {
    for method in [&b"POST"[..], b"OPTIONS", b"get", b""] {
        let response = site().root.serve(method, b"/page.html", &Conditions::default());
        assert_eq!(
            (response.status, response.header("allow")),
            (405, Some("GET, HEAD"))
        );
    }
}

#[test]
fn ranges_give_parts() {
    let site = site();
    let range = |range: &'static [u8]| {
        site.get_if(
            "/page.html",
            Conditions {
                range: Some(range),
                ..Conditions::default()
            },
        )
    };
    let response = range(b"bytes=2-4");
    assert_eq!(
        (response.status, response.bytes(), response.content_length),
        (206, &b"234"[..], Some(3))
    );
    assert_eq!(response.header("content-range"), Some("bytes 2-4/10"));
    assert_eq!(range(b"bytes=-3").bytes(), b"789");
    assert_eq!(range(b"bytes=0-1,3-4").status, 200);
    let response = range(b"bytes=10-");
    assert_eq!(
        (response.status, response.header("content-range")),
        (416, Some("bytes */10"))
    );
}

#[test]
fn changed_file_is_sent_whole_despite_a_range() {
    let site = site();
    let with = |if_range: &'static [u8]| {
        let conditions = Conditions {
            if_range: Some(if_range),
            range: Some(b"bytes=0-1"),
            ..Conditions::default()
        };
        site.get_if("/page.html", conditions).status
    };
    assert_eq!(with(b"\"2ebc98a1-0-a\""), 206);
    assert_eq!(with(MODIFIED.as_bytes()), 206);
    assert_eq!(with(b"\"old\""), 200);
}

#[test]
fn conditions_give_304_and_412() {
    let site = site();
    let response = site.get_if(
        "/page.html",
        Conditions {
            if_none_match: Some(b"\"2ebc98a1-0-a\""),
            ..Conditions::default()
        },
    );
    assert_eq!((response.status, response.content_length), (304, None));
    assert_eq!(response.header("etag"), Some("\"2ebc98a1-0-a\""));
    assert!(matches!(response.body, FileBody::None));
    let response = site.get_if(
        "/page.html",
        Conditions {
            if_match: Some(b"\"old\""),
            ..Conditions::default()
        },
    );
    assert_eq!(response.status, 412);
    let conditions = Conditions {
        if_none_match: Some(b"*"),
        ..Conditions::default()
    };
    assert_eq!(site.get_if("/missing", conditions).status, 404);
}

#[test]
fn directories_get_their_slash_and_index() {
    let site = site();
    let response = site.get("/docs");
    assert_eq!(
        (response.status, response.header("location")),
        (308, Some("./docs/"))
    );
    assert_eq!(site.get("/docs/a: b").header("location"), Some("./a%3A%20b/"));
    assert_eq!(site.get("/docs/").bytes(), b"docs");
    assert_eq!(
        site.get("/docs/").header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(site.get("/").status, 404);
    assert_eq!(site.get("").status, 404);
}

#[test]
fn what_must_not_be_seen_does_not_exist() {
    let site = site();
    for path in [
        "/missing",
        "/page.html/",
        "/page.html/x",
        "/.env",
        "/../etc/passwd",
        "/passwd",
        "/a\0",
        "/docs/..",
    ] {
        assert_eq!(site.get(path).status, 404, "{path}");
    }
    assert_eq!(site.get(&format!("/{}", "x".repeat(5000))).status, 404);
    assert_eq!(site.get("/.well-known/security.txt").bytes(), b"contact");
}

#[test]
fn pipes_neither_block_nor_exist() {
    let site = site();
    let mode = rustix::fs::Mode::RUSR;
    let path = site.directory.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).expect("makes a pipe");
    assert_eq!(site.get("/pipe").status, 404);
}

#[test]
fn file_from_the_future_is_dated_now() {
    let site = site();
    let conditions = Conditions {
        now_unix_seconds: 1000,
        ..Conditions::default()
    };
    let response = site.root.serve(b"GET", b"/page.html", &conditions);
    assert_eq!(
        response.header("last-modified"),
        Some("Thu, 01 Jan 1970 00:16:40 GMT")
    );
}

#[test]
fn moved_symlink_of_the_root_is_followed_within_a_second() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let (link, next) = (directory.path().join("current"), directory.path().join("next"));
    for release in ["one", "two"] {
        fs::create_dir(directory.path().join(release)).expect("directory");
        fs::write(directory.path().join(release).join("a"), release).expect("file");
    }
    symlink("one", &link).expect("symlink");
    let root = FileRoot::open(&link, Vec::new()).expect("opens");
    let get = |now_unix_seconds| {
        root.serve(
            b"GET",
            b"/a",
            &Conditions {
                now_unix_seconds,
                ..Conditions::default()
            },
        )
        .bytes()
        .to_vec()
    };
    assert_eq!(get(NOW), b"one");
    symlink("two", &next).expect("symlink");
    fs::rename(&next, &link).expect("rename");
    assert_eq!(get(NOW + 1), b"two");
    fs::remove_file(&link).expect("remove");
    assert_eq!(get(NOW + 2), b"two");
}

#[test]
fn unusable_roots_are_refused() {
    let site = site();
    assert!(FileRoot::open(site.directory.path().join("missing"), Vec::new()).is_err());
    assert!(FileRoot::open(site.directory.path().join("page.html"), Vec::new()).is_err());
    let error = FileRoot::open(site.directory.path(), vec!["../x".to_owned()]).expect_err("a path");
    assert!(error.to_string().contains("hint:"));
}
