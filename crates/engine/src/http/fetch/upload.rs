//! A request body that is made while it is sent: pieces through a channel of capacity one, so that its maker waits for the
//! server.

use std::task::{ready, Context, Poll};

use headgate_wire::{write_chunk_size, write_last_chunk, CRLF};
use tokio::sync::mpsc::{channel, Receiver, Sender};

use headgate_net::stream::Stream;

/// The engine's end of an upload.
pub struct UploadEnd(Receiver<Piece>);

/// The next bytes, or `None` for the body's end. A channel that closes without it cuts the request.
type Piece = Option<Vec<u8>>;

/// The two ends of an upload's channel.
pub fn upload_channel() -> (Sender<Option<Vec<u8>>>, UploadEnd) {
    let (sender, receiver) = channel(1);
    (sender, UploadEnd(receiver))
}

/// An upload on its way: each piece is a chunk.
pub(super) struct Upload {
    pieces: Receiver<Piece>,
    framed: Vec<u8>,
    written: usize,
    has_ended: bool,
    /// Something was taken from the maker, which cannot be had again.
    pub(super) has_begun: bool,
}

/// Why an upload stopped.
pub(super) enum UploadBroken {
    /// Its maker gave up.
    Aborted,
    /// The server takes no more.
    Server,
}

impl Upload {
    pub(super) fn new(end: UploadEnd) -> Self {
        Self {
            pieces: end.0,
            framed: Vec::new(),
            written: 0,
            has_ended: false,
            has_begun: false,
        }
    }

    /// Sends until the end is sent (`Ready(Ok)`) or a peer must be waited for.
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
        stream: &mut Stream,
        moved: &mut bool,
    ) -> Poll<Result<(), UploadBroken>> {
        loop {
            while self.written < self.framed.len() {
                match ready!(stream.poll_write(context, &self.framed[self.written..], &[])) {
                    Ok(n) => self.written += n,
                    Err(_) => return Poll::Ready(Err(UploadBroken::Server)),
                }
                *moved = true;
            }
            if self.has_ended {
                return Poll::Ready(Ok(()));
            }
            self.framed.clear();
            self.written = 0;
            match ready!(self.pieces.poll_recv(context)) {
                None => return Poll::Ready(Err(UploadBroken::Aborted)),
                Some(None) => {
                    self.has_ended = true;
                    write_last_chunk(None, &mut self.framed);
                }
                Some(Some(piece)) if piece.is_empty() => {}
                Some(Some(piece)) => {
                    self.has_begun = true;
                    write_chunk_size(piece.len(), &mut self.framed);
                    self.framed.extend_from_slice(&piece);
                    self.framed.extend_from_slice(CRLF);
                }
            }
        }
    }
}
