//! What connections do, written to files in qlog, which tools such as qvis draw; for a share of the connections, on demand.
//!
//! # How it works
//! A connection that was drawn gets a file of its own. What would make it larger than allowed is left out. When there are as
//! many files as allowed, the oldest go, of whichever worker they are. What cannot be written is told once, and costs the
//! client nothing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Once;
use std::time::{SystemTime, UNIX_EPOCH};

use quinn_proto::{QlogConfig, QlogStream};

use crate::snapshot::Http3;

/// How the names of files end, and begin.
const SUFFIX: &str = ".sqlog";
const PREFIX: &str = "headgate-";

/// Where a connection's events go, if it is one of those that are drawn. `title`: what it is called in the file.
pub(super) fn stream(settings: &Http3, title: impl FnOnce() -> String) -> Option<QlogStream> {
    let folder = Path::new(settings.qlog.as_ref()?);
    if !is_drawn(settings.qlog_per_million) {
        return None;
    }
    let file = open(folder, settings.qlog_max_files).map_err(|error| tell_once(folder, &error));
    let mut config = QlogConfig::default();
    config
        .title(Some(title()))
        .writer(Box::new(BufWriter::new(Bounded {
            file: file.ok()?,
            left: settings.qlog_max_bytes,
        })));
    config.into_stream()
}

fn is_drawn(per_million: u32) -> bool {
    let mut random = [0; 4];
    aws_lc_rs::rand::fill(&mut random).is_ok() && u32::from_be_bytes(random) % 1_000_000 < per_million
}

fn tell_once(folder: &Path, error: &io::Error) {
    static TOLD: Once = Once::new();
    TOLD.call_once(|| {
        tracing::warn!(folder = %folder.display(), %error, "`http3.qlog`: no events are written");
    });
}

/// A new file in a folder, in which there are no more than `most` then.
fn open(folder: &Path, most: usize) -> io::Result<File> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    fs::create_dir_all(folder)?;
    let mut there: Vec<PathBuf> = fs::read_dir(folder)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| is_ours(path))
        .collect();
    there.sort_unstable();
    for old in there.iter().take((there.len() + 1).saturating_sub(most)) {
        // another worker may have been quicker
        let _ = fs::remove_file(old);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let name = format!(
        "{PREFIX}{:015}-{}-{:06}{SUFFIX}",
        now.as_millis(),
        std::process::id(),
        NUMBER.fetch_add(1, Ordering::Relaxed)
    );
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(folder.join(name))
}

fn is_ours(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX))
}

/// A file that takes no more than a number of bytes, and forgets the rest.
struct Bounded {
    file: File,
    left: u64,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.file.write_all(&bytes[..taken])?;
        self.left -= taken as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_bounded_in_number_and_the_oldest_go() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        fs::write(folder.path().join("other.sqlog"), "").expect("it can be written");
        for _ in 0..5 {
            open(folder.path(), 3).expect("it can be made");
        }
        let names: Vec<_> = fs::read_dir(folder.path())
            .expect("it is there")
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .collect();
        assert_eq!(names.iter().filter(|path| is_ours(path)).count(), 3);
        assert_eq!(names.len(), 4, "those of others stay");
    }

    #[test]
    fn a_file_is_bounded_in_size() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let path = folder.path().join("one");
        let file = File::create(&path).expect("it can be made");
        let mut bounded = Bounded { file, left: 10 };
        for _ in 0..3 {
            bounded.write_all(b"seven b").expect("it takes all");
        }
        assert_eq!(fs::read(&path).expect("it is there").len(), 10);
    }

    #[test]
    fn none_and_all_are_drawn() {
        assert!(!(0..100).any(|_| is_drawn(0)));
        assert!((0..100).all(|_| is_drawn(1_000_000)));
    }
}
