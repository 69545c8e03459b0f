//! The response for a file that was found: status, fields and body (RFC 9110 sections 13 to 15).

use std::fs::{File, Metadata};
use std::os::unix::fs::{FileExt, MetadataExt};

use super::conditional::{self, Conditions, PreconditionResult, Validators};
use super::path::percent_encode;
use super::range::{self, Selection};
use super::{Found, FoundFile};
use crate::http_date;

/// Files up to this size are read at once, so that head and body leave in one write.
const SMALL_FILE_BYTES: u64 = 16 * 1024;

/// What to respond for a static file.
#[derive(Debug)]
pub struct FileResponse {
    /// 200, 206, 304, 308, or an error: 403, 404, 405, 412, 416, 500.
    pub status: u16,
    /// Fields without `Content-Length` and `Date`.
    pub headers: Vec<(&'static str, String)>,
    /// The body to send.
    pub body: FileBody,
    /// The `Content-Length` to declare: also known for HEAD, whose `body` is none. None for 304 and errors.
    pub content_length: Option<u64>,
}

/// The body of a response.
#[derive(Debug)]
pub enum FileBody {
    /// No body.
    None,
    /// A small body.
    Bytes(Vec<u8>),
    /// A part of a regular file. If it turns out shorter (someone truncated it), the connection must be cut.
    File {
        /// The file, open for reading.
        file: File,
        /// Offset of the first byte to send.
        start: u64,
        /// Number of bytes to send.
        len: u64,
    },
}

impl FileResponse {
    pub(super) fn new(status: u16, headers: Vec<(&'static str, String)>) -> Self {
        Self {
            status,
            headers,
            body: FileBody::None,
            content_length: None,
        }
    }

    /// Sends the client to the same path with a slash at its end; the caller decides where that is.
    pub(crate) fn to_folder() -> Self {
        Self::new(308, vec![("location", String::new())])
    }

    /// A response without body whose page the caller makes.
    pub(super) fn error(status: u16) -> Self {
        Self::new(status, Vec::new())
    }
}

/// Responds to a GET or HEAD for what was found.
pub(super) fn respond(found: Found, is_head: bool, conditions: &Conditions<'_>) -> FileResponse {
    match found {
        // `./` keeps a colon in the name from reading as a scheme (RFC 3986 section 4.2).
        Found::Directory { name } => {
            FileResponse::new(308, vec![("location", format!("./{}/", percent_encode(&name)))])
        }
        Found::File(found) => {
            let validators = Validators::of(&found.metadata, conditions.now_unix_seconds);
            match conditional::evaluate(conditions, &validators) {
                PreconditionResult::Failed => FileResponse::error(412),
                PreconditionResult::NotModified => FileResponse::new(304, validators.into_headers()),
                PreconditionResult::Send => send(found, validators, is_head, conditions),
            }
        }
    }
}

fn send(
    found: FoundFile,
    validators: Validators,
    is_head: bool,
    conditions: &Conditions<'_>,
) -> FileResponse {
    let size = found.metadata.len();
    let selection = match conditions.range {
        // A Range counts for GET only (section 14.2).
        Some(range) if !is_head && conditional::range_applies(conditions, &validators) => {
            range::select(range, size)
        }
        _ => Selection::Whole,
    };
    let mut headers = vec![("accept-ranges", "bytes".to_owned())];
    let (status, start, len) = match selection {
        Selection::Unsatisfiable => {
            headers.push(("content-range", format!("bytes */{size}")));
            return FileResponse::new(416, headers);
        }
        Selection::Whole => (200, 0, size),
        Selection::Part { start, len } => {
            headers.push((
                "content-range",
                format!("bytes {start}-{}/{size}", start + len - 1),
            ));
            (206, start, len)
        }
    };
    headers.push(("content-type", found.content_type.to_owned()));
    headers.extend(validators.into_headers());
    let body = if is_head {
        Some(FileBody::None)
    } else {
        body(found.file, start, len)
    };
    match body {
        Some(body) => FileResponse {
            status,
            headers,
            body,
            content_length: Some(len),
        },
        None => FileResponse::error(500),
    }
}

/// `None` if the file cannot be read, or is shorter by now.
fn body(file: File, start: u64, len: u64) -> Option<FileBody> {
    if len > SMALL_FILE_BYTES {
        return Some(FileBody::File { file, start, len });
    }
    let mut bytes = vec![0; usize::try_from(len).ok()?];
    file.read_exact_at(&mut bytes, start).ok()?;
    Some(FileBody::Bytes(bytes))
}

impl Validators {
    /// The tag is made of what every change changes, to the nanosecond. The inode is left out, so that copies of a site
    /// on several nodes agree.
    fn of(metadata: &Metadata, now: u64) -> Self {
        let etag = format!(
            "\"{:x}-{:x}-{:x}\"",
            metadata.mtime(),
            metadata.mtime_nsec(),
            metadata.len()
        );
        // Never in the future (section 8.8.2.1).
        Self {
            etag,
            last_modified: u64::try_from(metadata.mtime()).unwrap_or(0).min(now),
        }
    }

    fn into_headers(self) -> Vec<(&'static str, String)> {
        let date = http_date::format(self.last_modified);
        vec![
            ("etag", self.etag),
            ("last-modified", String::from_utf8_lossy(&date).into_owned()),
        ]
    }
}
