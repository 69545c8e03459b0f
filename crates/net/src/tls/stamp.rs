//! Whether files have changed.

use std::os::unix::fs::MetadataExt;

/// What tells a file's content apart from an earlier one.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    modified_ns: (i64, i64),
}

/// The stamps of some files, absent ones included.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stamps(Vec<(String, Option<Stamp>)>);

impl Stamps {
    /// Looks at the files, through links.
    pub(crate) fn of<'a>(paths: impl Iterator<Item = &'a String>) -> Self {
        let stamp = |path: &String| {
            let found = std::fs::metadata(path).ok()?;
            Some(Stamp {
                inode: found.ino(),
                size: found.size(),
                modified_ns: (found.mtime(), found.mtime_nsec()),
            })
        };
        Self(paths.map(|path| (path.clone(), stamp(path))).collect())
    }

    /// How many files.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}
