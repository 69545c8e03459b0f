//! Writing log lines to a file, a pipe or a terminal.
//!
//! How it works: a regular file, opened for appending, gets all lines in one write(2), which the kernel keeps
//! together, so that several workers can share the file. A pipe or terminal keeps together only `PIPE_BUF` bytes and
//! may be full: it gets whole lines in pieces of that size, each only when there is room, so that a slow reader never
//! stalls a worker. Only a line longer than such a piece can mix with one of another worker there.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::io::{retry_on_intr, write, Errno};

use super::sink::LogCounts;

/// What Linux keeps together in a pipe, and surely takes when it says there is room (pipe(7)).
const PIPE_BUF: usize = 4096;
/// Access logs name people: they are for the owner and the group.
const FILE_MODE: u32 = 0o640;

/// An open file, pipe or terminal.
#[derive(Debug)]
pub(super) struct Stream {
    file: OwnedFd,
    is_regular: bool,
    /// None for a standard stream.
    path: Option<PathBuf>,
    /// The last write to a regular file ended inside a line.
    is_torn: bool,
}

impl Stream {
    /// Opens a file for appending, and makes it if need be.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: Some(path.to_owned()),
            ..Self::adopt(open_file(path)?)?
        })
    }

    /// Takes an open stream, such as standard output.
    pub(super) fn adopt(stream: OwnedFd) -> io::Result<Self> {
        let file = File::from(stream);
        let is_regular = file.metadata()?.is_file();
        Ok(Self {
            file: file.into(),
            is_regular,
            path: None,
            is_torn: false,
        })
    }

    /// Opens the file by its name again; a standard stream stays as it is.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        if let Some(path) = self.path.take() {
            let reopened = Self::open(&path);
            self.path = Some(path);
            *self = reopened?;
        }
        Ok(())
    }

    /// Writes lines; returns the bytes that are dealt with: written, or dropped because writing failed. The rest, which
    /// a full pipe leaves, is to be given again.
    pub(super) fn write(&mut self, lines: &[u8], counts: &mut LogCounts) -> usize {
        let written = if self.is_regular {
            self.write_whole(lines)
        } else {
            self.write_while_there_is_room(lines)
        };
        written.unwrap_or_else(|rest| {
            counts.failed_writes += 1;
            counts.dropped_lines += memchr::memchr_iter(b'\n', rest).count() as u64;
            lines.len()
        })
    }

    /// One write(2) for all lines; a second one only where the disk is nearly full and took a part. Fails with what is
    /// left.
    fn write_whole<'a>(&mut self, lines: &'a [u8]) -> Result<usize, &'a [u8]> {
        if self.is_torn && !lines.is_empty() && retry_on_intr(|| write(&self.file, b"\n")) == Ok(1) {
            self.is_torn = false;
        }
        let mut rest = lines;
        while !rest.is_empty() {
            match retry_on_intr(|| write(&self.file, rest)) {
                Ok(written) if written > 0 => {
                    self.is_torn = rest[written - 1] != b'\n';
                    rest = &rest[written..];
                }
                _ => return Err(rest),
            }
        }
        Ok(lines.len())
    }

    /// Pieces of at most `PIPE_BUF` bytes, each when it does not block. Fails with what is left: the reader has gone.
    fn write_while_there_is_room<'a>(&self, lines: &'a [u8]) -> Result<usize, &'a [u8]> {
        let mut rest = lines;
        while !rest.is_empty() && self.has_room() {
            match retry_on_intr(|| write(&self.file, piece(rest))) {
                Ok(written) if written > 0 => rest = &rest[written..],
                Err(Errno::AGAIN) => break,
                _ => return Err(rest),
            }
        }
        Ok(lines.len() - rest.len())
    }

    /// Whether a write of `PIPE_BUF` bytes would not block. A broken stream has room: the write then says what is wrong.
    fn has_room(&self) -> bool {
        let mut streams = [PollFd::new(&self.file, PollFlags::OUT)];
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        retry_on_intr(|| poll(&mut streams, Some(&at_once))) != Ok(0)
    }
}

fn open_file(path: &Path) -> io::Result<OwnedFd> {
    Ok(OpenOptions::new()
        .append(true)
        .create(true)
        .mode(FILE_MODE)
        .open(path)?
        .into())
}

/// The whole lines within `PIPE_BUF` bytes, or that much of a longer line.
fn piece(lines: &[u8]) -> &[u8] {
    let fitting = &lines[..lines.len().min(PIPE_BUF)];
    memchr::memrchr(b'\n', fitting).map_or(fitting, |end| &fitting[..=end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn torn_line_is_ended_before_the_next() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("log");
        let mut stream = Stream::open(&path).expect("opens");
        stream.is_torn = true;
        assert_eq!(stream.write(b"whole\n", &mut LogCounts::default()), 6);
        assert_eq!(std::fs::read(path).expect("file"), b"\nwhole\n");
    }

    #[test]
    fn pieces_end_with_a_line_where_they_can() {
        assert_eq!(piece(b"one\ntwo\n"), b"one\ntwo\n");
        let lines = [&[b'a'; 3000][..], b"\n", &[b'b'; 3000], b"\n"].concat();
        assert_eq!(piece(&lines).len(), 3001);
        assert_eq!(piece(&lines[3001..]).len(), 3001);
        assert_eq!(piece(&[b'a'; 5000]).len(), PIPE_BUF);
    }
}
