//! From the path of a request to an open file that is certainly below the root.
//!
//! How it works: the kernel resolves the whole path with openat2(2) and `RESOLVE_BENEATH`, so neither `..` nor a
//! symlink, nor a change of the tree at the same time, leads out. Kernels before 5.6 and some sandboxes lack that call;
//! there each component is opened by itself without following symlinks, so symlinks lead nowhere.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{openat, openat2, Mode, OFlags, ResolveFlags, CWD};
use rustix::io::Errno;

/// The one name with a leading dot that is served (RFC 8615).
const WELL_KNOWN: &[u8] = b".well-known";
/// `NONBLOCK` so that a named pipe put beneath the root cannot block the worker.
const OPEN_FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);
const DIRECTORY_FLAGS: OFlags = OFlags::PATH.union(OFlags::CLOEXEC).union(OFlags::DIRECTORY);
/// openat2 gives up when the tree is renamed while `..` in a symlink is followed.
const RACE_RETRIES: usize = 8;

/// A percent-encoded path that names no file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// `%` without two hexadecimal digits.
    #[error("malformed percent-encoding in the path")]
    Malformed,
    /// `%2F` or `%00`: a byte that cannot be part of a file's name.
    #[error("encoded slash or NUL in the path")]
    Ambiguous,
}

/// Decodes every percent-encoded byte of a path (RFC 3986 section 2.1), to be given to `FileRoot::serve`.
///
/// An encoded `/` is refused: decoded, it would mean another file.
pub fn percent_decode(path: &[u8]) -> Result<Vec<u8>, PathError> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some(percent) = memchr::memchr(b'%', rest) {
        decoded.extend_from_slice(&rest[..percent]);
        let [high, low] = *rest.get(percent + 1..percent + 3).ok_or(PathError::Malformed)? else {
            return Err(PathError::Malformed);
        };
        let byte = hex(high)? << 4 | hex(low)?;
        if byte == b'/' || byte == 0 {
            return Err(PathError::Ambiguous);
        }
        decoded.push(byte);
        rest = &rest[percent + 3..];
    }
    decoded.extend_from_slice(rest);
    Ok(decoded)
}

/// Encodes all but unreserved characters (RFC 3986 section 2.3) of one path segment.
pub(super) fn percent_encode(segment: &[u8]) -> String {
    let mut encoded = String::with_capacity(segment.len());
    for &byte in segment {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            for nibble in [byte >> 4, byte & 15] {
                encoded.push(char::from(b"0123456789ABCDEF"[usize::from(nibble)]));
            }
        }
    }
    encoded
}

fn hex(digit: u8) -> Result<u8, PathError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(PathError::Malformed),
    }
}

/// A path relative to the root, of names that may be served. A last empty name means a directory.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RelativePath {
    names: Vec<u8>,
}

impl RelativePath {
    /// Takes a decoded path; `None` if a name in it begins with a dot (but a leading `.well-known`), holds a NUL or is
    /// empty. Repeated slashes are not merged: routes do not merge them either, and a route that guards `/private/`
    /// must not be passed by with `//private/`.
    pub(super) fn new(decoded_path: &[u8]) -> Option<Self> {
        let names = decoded_path.strip_prefix(b"/").unwrap_or(decoded_path);
        let is_allowed = |(index, name): (usize, &[u8])| match name.first() {
            None => false,
            Some(b'.') => index == 0 && name == WELL_KNOWN,
            Some(_) => memchr::memchr(0, name).is_none(),
        };
        let without_last_slash = names.strip_suffix(b"/").unwrap_or(names);
        let mut each = without_last_slash.split(|&byte| byte == b'/').enumerate();
        (names.is_empty() || each.all(is_allowed)).then(|| Self {
            names: names.to_vec(),
        })
    }

    /// Whether it can only mean a directory.
    pub(super) fn is_directory(&self) -> bool {
        self.names.is_empty() || self.names.ends_with(b"/")
    }

    /// The file `name` in this directory.
    pub(super) fn join(&self, name: &str) -> Self {
        Self {
            names: [&self.names, name.as_bytes()].concat(),
        }
    }

    /// The last name; empty for a directory.
    pub(super) fn file_name(&self) -> &[u8] {
        self.names.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
    }
}

/// Opens the directory that paths are resolved beneath.
pub(super) fn open_root(path: &std::path::Path) -> Result<OwnedFd, Errno> {
    openat(CWD, path, DIRECTORY_FLAGS, Mode::empty())
}

/// Opens a file or directory beneath `root` for reading.
pub(super) fn open_beneath(root: &OwnedFd, path: &RelativePath) -> Result<File, Errno> {
    static OPENAT2_IS_MISSING: AtomicBool = AtomicBool::new(false);
    if OPENAT2_IS_MISSING.load(Ordering::Relaxed) {
        return open_by_components(root.as_fd(), path);
    }
    match open_resolved(root, path) {
        Err(Errno::NOSYS) => {
            OPENAT2_IS_MISSING.store(true, Ordering::Relaxed);
            open_by_components(root.as_fd(), path)
        }
        // Some sandboxes return this for calls they do not know; a file can be refused so too, hence no remembering.
        Err(Errno::PERM) => open_by_components(root.as_fd(), path),
        result => result,
    }
}

fn open_resolved(root: &OwnedFd, path: &RelativePath) -> Result<File, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let mut result = Err(Errno::AGAIN);
    for _ in 0..RACE_RETRIES {
        result = openat2(root, &path.names[..], OPEN_FLAGS, Mode::empty(), resolve);
        if !matches!(result, Err(Errno::AGAIN | Errno::INTR)) {
            break;
        }
    }
    result.map(File::from)
}

fn open_by_components(root: BorrowedFd<'_>, path: &RelativePath) -> Result<File, Errno> {
    let (directories, name) = match memchr::memrchr(b'/', &path.names) {
        Some(slash) => (&path.names[..slash], &path.names[slash + 1..]),
        None => (&b""[..], &path.names[..]),
    };
    let mut directory: Option<OwnedFd> = None;
    for component in directories
        .split(|&byte| byte == b'/')
        .filter(|component| !component.is_empty())
    {
        let parent = directory.as_ref().map_or(root, AsFd::as_fd);
        directory = Some(openat(
            parent,
            component,
            DIRECTORY_FLAGS | OFlags::NOFOLLOW,
            Mode::empty(),
        )?);
    }
    let parent = directory.as_ref().map_or(root, AsFd::as_fd);
    openat(parent, name, OPEN_FLAGS | OFlags::NOFOLLOW, Mode::empty()).map(File::from)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use proptest::prelude::*;

    use super::*;

    fn tree() -> (tempfile::TempDir, OwnedFd) {
        let directory = tempfile::tempdir().expect("temporary directory");
        let root = directory.path().join("root");
        fs::create_dir_all(root.join("sub/deep")).expect("directories");
        fs::write(directory.path().join("secret"), "secret").expect("file");
        fs::write(root.join("sub/deep/file"), "inside").expect("file");
        symlink("sub/deep/file", root.join("inside")).expect("symlink");
        symlink("../inside", root.join("sub/up")).expect("symlink");
        symlink("../secret", root.join("out")).expect("symlink");
        symlink("/etc/passwd", root.join("absolute")).expect("symlink");
        symlink("..", root.join("parent")).expect("symlink");
        let root = open_root(&root).expect("opens");
        (directory, root)
    }

    fn relative(path: &str) -> RelativePath {
        RelativePath::new(path.as_bytes()).expect("allowed")
    }

    #[test]
    fn files_and_symlinks_beneath_the_root_open() {
        let (_directory, root) = tree();
        for path in ["/sub/deep/file", "sub/deep/file", "/inside", "/sub/up"] {
            let text = std::io::read_to_string(open_beneath(&root, &relative(path)).expect(path));
            assert_eq!(text.expect("text"), "inside", "{path}");
        }
    }

    #[test]
    fn nothing_leads_out_of_the_root() {
        let (_directory, root) = tree();
        for path in ["/out", "/absolute", "/parent/secret"] {
            assert_eq!(open_beneath(&root, &relative(path)).expect_err(path), Errno::XDEV);
            assert!(
                open_by_components(root.as_fd(), &relative(path)).is_err(),
                "{path}"
            );
        }
        let raw = RelativePath {
            names: b"../secret".to_vec(),
        };
        assert_eq!(open_beneath(&root, &raw).expect_err("escape"), Errno::XDEV);
    }

    #[test]
    fn without_openat2_files_open_and_symlinks_do_not() {
        let (_directory, root) = tree();
        let open = |path| open_by_components(root.as_fd(), &relative(path));
        assert!(open("/sub/deep/file").is_ok());
        assert!(open("/sub/deep")
            .expect("opens")
            .metadata()
            .expect("metadata")
            .is_dir());
        for path in ["/inside", "/sub/up", "/sub/deep/file/x", "/missing/x"] {
            assert!(open(path).is_err(), "{path}");
        }
    }

    #[test]
    fn hidden_and_empty_names_and_nul_are_refused() {
        for path in [
            "/.git/config",
            "/a/.env",
            "/..",
            "/a/../b",
            "/.",
            "/a/.well-known/x",
            "/.well-known/.x",
            "/a\0b",
            "//",
            "//a",
            "/a//b",
            "/a//",
        ] {
            assert_eq!(RelativePath::new(path.as_bytes()), None, "{path}");
        }
        assert_eq!(relative("/.well-known/acme").names, b".well-known/acme");
    }

    #[test]
    fn last_slash_means_a_directory() {
        for (path, is_directory, name) in [
            ("", true, ""),
            ("/", true, ""),
            ("/a/", true, ""),
            ("/a", false, "a"),
            ("/a/b", false, "b"),
        ] {
            let path = relative(path);
            assert_eq!(
                (path.is_directory(), path.file_name()),
                (is_directory, name.as_bytes())
            );
        }
    }

    #[test]
    fn percent_encoding_is_decoded_once() {
        assert_eq!(
            percent_decode(b"/a%20b%c3%A4%2e%2525"),
            Ok("/a bä.%25".as_bytes().to_vec())
        );
        assert_eq!(percent_decode(b"/a%2fb"), Err(PathError::Ambiguous));
        assert_eq!(percent_decode(b"/a%00"), Err(PathError::Ambiguous));
        for path in [&b"%"[..], b"%1", b"%g0", b"%0g", b"%+1"] {
            assert_eq!(percent_decode(path), Err(PathError::Malformed));
        }
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(segment: Vec<u8>) {
            prop_assume!(!segment.contains(&0) && !segment.contains(&b'/'));
            prop_assert_eq!(percent_decode(percent_encode(&segment).as_bytes()), Ok(segment));
        }

        #[test]
        fn no_allowed_path_has_a_dot_name(path in "[a./%\\x00]{0,30}") {
            let _ = percent_decode(path.as_bytes());
            if let Some(path) = RelativePath::new(path.as_bytes()) {
                prop_assert!(!path.names.starts_with(b"/"));
                prop_assert!(path.names.split(|&byte| byte == b'/').all(|name| !name.starts_with(b".")));
            }
        }
    }
}
