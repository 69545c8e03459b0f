//! Static files: from a request's path and conditions to a response (RFC 9110 sections 13 and 14).
//!
//! Opening a file is the only I/O here, and reading it if it is small; sending is the caller's. Error responses have no
//! body: the caller makes the page.

mod conditional;
mod mime;
mod path;
mod range;
mod response;

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use rustix::io::Errno;

pub use conditional::Conditions;
pub use path::percent_decode;
pub use response::{FileBody, FileResponse};

use path::RelativePath;

/// A directory whose files are served.
///
/// It is opened again each second in which it is used, so that a site put in place by moving a symlink is seen.
#[derive(Debug)]
pub struct FileRoot {
    path: PathBuf,
    directory: Mutex<OwnedFd>,
    opened_in: AtomicU64,
    index: Vec<String>,
}

impl FileRoot {
    /// Opens a directory. For a path that ends with a slash the names of `index` are tried in order.
    ///
    /// Fails if it is not a directory or a name of `index` has a slash.
    pub fn open(root: impl AsRef<Path>, index: Vec<String>) -> io::Result<Self> {
        if let Some(name) = index
            .iter()
            .find(|name| name.is_empty() || name.contains(['/', '\0']))
        {
            let text = format!("`{name}` is not a valid index file name; hint: give names like `index.html`");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let path = std::path::absolute(root)?;
        let directory = Mutex::new(path::open_root(&path)?);
        Ok(Self {
            path,
            directory,
            opened_in: AtomicU64::new(0),
            index,
        })
    }

    /// Responds to a request for the file at `decoded_path`: the path relative to the root, percent-decoded (see
    /// [`percent_decode`]), its dot segments resolved.
    ///
    /// A directory without its last slash gets a 308 whose `Location` is relative, so it holds whatever prefix the
    /// route has stripped; the caller appends the query. Names that begin with a dot do not exist, but `.well-known`.
    /// There are no directory listings. Costs three to four system calls.
    pub fn serve(&self, method: &[u8], decoded_path: &[u8], conditions: &Conditions<'_>) -> FileResponse {
        let is_head = method == b"HEAD";
        if !is_head && method != b"GET" {
            return FileResponse::new(405, vec![("allow", "GET, HEAD".to_owned())]);
        }
        let Some(path) = RelativePath::new(decoded_path) else {
            return FileResponse::error(404);
        };
        self.refresh(conditions.now_unix_seconds);
        match self.find(&path) {
            Ok(found) => response::respond(found, is_head, conditions),
            Err(errno) => FileResponse::error(status_of(errno)),
        }
    }

    /// Keeps the old directory while there is none by its name.
    fn refresh(&self, now: u64) {
        if self.opened_in.load(Relaxed) != now {
            self.opened_in.store(now, Relaxed);
            if let Ok(directory) = path::open_root(&self.path) {
                *self.directory.lock().unwrap_or_else(PoisonError::into_inner) = directory;
            }
        }
    }

    fn find(&self, path: &RelativePath) -> Result<Found, Errno> {
        let directory = self.directory.lock().unwrap_or_else(PoisonError::into_inner);
        if !path.is_directory() {
            return Found::open(&directory, path);
        }
        for name in &self.index {
            match Found::open(&directory, &path.join(name)) {
                Err(Errno::NOENT) | Ok(Found::Directory { .. }) => {}
                found => return found,
            }
        }
        Err(Errno::NOENT)
    }
}

/// A regular file.
struct FoundFile {
    file: File,
    metadata: Metadata,
    content_type: &'static str,
}

/// What a path leads to.
enum Found {
    File(FoundFile),
    Directory { name: Vec<u8> },
}

impl Found {
    fn open(root: &OwnedFd, path: &RelativePath) -> Result<Self, Errno> {
        let file = path::open_beneath(root, path)?;
        let metadata = file
            .metadata()
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        if metadata.is_file() {
            Ok(Self::File(FoundFile {
                file,
                metadata,
                content_type: mime::content_type(path.file_name()),
            }))
        } else if metadata.is_dir() {
            Ok(Self::Directory {
                name: path.file_name().to_vec(),
            })
        } else {
            Err(Errno::NOENT)
        }
    }
}

/// Whose fault it is that a file does not open. What would lead out of the root does not exist.
fn status_of(errno: Errno) -> u16 {
    match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV | Errno::NAMETOOLONG | Errno::NXIO => 404,
        Errno::ACCESS | Errno::PERM => 403,
        _ => 500,
    }
}

#[cfg(test)]
mod tests;
