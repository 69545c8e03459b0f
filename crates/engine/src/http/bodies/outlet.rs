//! The far end of a body that flows in pieces: framed anew and written as fast as the peer takes it.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::task::{ready, Context, Poll};

use rustix::net::{send, SendFlags};
use tokio::io::Interest;

use headgate_wire::{write_chunk_size, write_last_chunk, Head, CRLF};

use super::piece::Chunk;
use headgate_net::peer::Peer;
use headgate_net::pipe::Pipe;

/// See the module.
#[derive(Default)]
pub(crate) struct Outlet {
    /// Written before the data: at first the head.
    framing: Vec<u8>,
    framing_written: usize,
    data: Option<Chunk>,
    data_written: usize,
    /// What comes after it, mostly one piece at most: the second one costs a queue.
    next: Option<Chunk>,
    later: VecDeque<Chunk>,
    queued: usize,
    /// Written before all of these, right behind the framing.
    piped: Option<Box<Pipe>>,
    is_chunked: bool,
    owes_crlf: bool,
    end: Option<Vec<u8>>,
    /// All bytes written.
    pub(crate) written: u64,
}

impl Outlet {
    /// `head` goes out first.
    pub(crate) fn begin(&mut self, head: Vec<u8>, is_chunked: bool) {
        self.framing = head;
        self.is_chunked = is_chunked;
    }

    /// Puts a piece, which is not empty, behind the others.
    pub(crate) fn push(&mut self, chunk: Chunk) {
        self.queued += chunk.bytes().len();
        match &self.next {
            None => self.next = Some(chunk),
            Some(_) => self.later.push_back(chunk),
        }
    }

    /// Puts a piece that is in a pipe behind what is written; nothing else is waiting.
    pub(crate) fn push_piped(&mut self, pipe: Box<Pipe>) {
        debug_assert!(!self.has_more());
        if self.is_chunked {
            self.pay_crlf();
            write_chunk_size(pipe.filled, &mut self.framing);
            self.owes_crlf = true;
        }
        self.piped = Some(pipe);
    }

    /// Ends the body, with trailers where its framing has a place for them.
    pub(crate) fn finish(&mut self, trailers: Option<&Head>) {
        let mut end = Vec::new();
        if self.is_chunked {
            // every chunk before it owes its CRLF
            let has_chunks = self.owes_crlf || self.next.is_some();
            if has_chunks {
                end.extend_from_slice(CRLF);
            }
            write_last_chunk(trailers, &mut end);
        }
        self.end = Some(end);
    }

    /// What the head was written into, for another one.
    pub(crate) fn into_scrap(self) -> Vec<u8> {
        self.framing
    }

    /// Bytes of data not yet written.
    pub(crate) fn pending(&self) -> usize {
        self.queued
    }

    /// Whether anything is left to write.
    pub(crate) fn has_more(&self) -> bool {
        self.data.is_some()
            || self.next.is_some()
            || !self.framing.is_empty()
            || self.end.is_some()
            || self.piped.is_some()
    }

    /// Everything so far as one run of bytes, taken out.
    pub(crate) fn drain_into(&mut self, out: &mut Vec<u8>) {
        while self.advance() {
            out.extend_from_slice(&self.framing);
            if let Some(data) = self.data.take() {
                self.queued -= data.bytes().len();
                out.extend_from_slice(data.bytes());
            }
            self.framing.clear();
        }
    }

    /// Writes until nothing is left.
    pub(crate) fn poll_flush(&mut self, context: &mut Context<'_>, peer: &mut Peer) -> Poll<io::Result<()>> {
        if self.piped.is_some() {
            ready!(self.poll_piped(context, peer))?;
        }
        while self.advance() {
            let framing = &self.framing[self.framing_written..];
            let data = self
                .data
                .as_ref()
                .map_or(&[][..], |data| &data.bytes()[self.data_written..]);
            let end = match &self.end {
                Some(end) if self.next.is_none() && !data.is_empty() => &end[..],
                _ => &[],
            };
            let n = if end.is_empty() || peer.stream.socket().is_none() {
                ready!(peer.stream.poll_write(context, framing, data))?
            } else {
                // the end leaves with the last piece, in one system call
                let slices = [IoSlice::new(framing), IoSlice::new(data), IoSlice::new(end)];
                ready!(peer.stream.poll_write_slices(context, &slices))?
            };
            self.wrote(n);
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what is in the pipe.
    fn poll_piped(&mut self, context: &mut Context<'_>, peer: &mut Peer) -> Poll<io::Result<()>> {
        while self.framing_written < self.framing.len() {
            ready!(peer.stream.poll_write_ready(context))?;
            let framing = &self.framing[self.framing_written..];
            // it waits in the socket for the data
            let flags = SendFlags::MORE | SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            let sent = peer
                .stream
                .try_io(Interest::WRITABLE, |socket| Ok(send(socket, framing, flags)?));
            match sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => {
                    let n = sent?;
                    self.framing_written += n;
                    self.written += n as u64;
                }
            }
        }
        self.framing.clear();
        self.framing_written = 0;
        while let Some(pipe) = self.piped.as_mut().filter(|pipe| pipe.filled > 0) {
            self.written += ready!(pipe.poll_drain(context, peer))? as u64;
        }
        if let Some(empty) = self.piped.take() {
            peer.pipes().give(empty);
        }
        Poll::Ready(Ok(()))
    }

    /// So much of the framing, the data and the end is written.
    fn wrote(&mut self, n: usize) {
        self.written += n as u64;
        let of_framing = n.min(self.framing.len() - self.framing_written);
        self.framing_written += of_framing;
        let data = self.data.as_ref().map_or(0, |data| data.bytes().len());
        let of_data = (n - of_framing).min(data - self.data_written);
        self.data_written += of_data;
        self.queued -= of_data;
        if self.framing_written == self.framing.len() && self.data_written == data {
            self.framing.clear();
            self.framing_written = 0;
            self.data = None;
            self.data_written = 0;
            let of_end = n - of_framing - of_data;
            if of_end > 0 {
                // the rest of it goes the way of framing
                if let Some(end) = self.end.take() {
                    self.framing.extend_from_slice(&end[of_end..]);
                }
            }
        }
    }

    /// Takes the next piece up, if all before is written. False: there is nothing to write.
    fn advance(&mut self) -> bool {
        if self.data.is_none() {
            if let Some(next) = self.next.take() {
                self.next = self.later.pop_front();
                if self.is_chunked {
                    self.pay_crlf();
                    write_chunk_size(next.bytes().len(), &mut self.framing);
                    self.owes_crlf = true;
                }
                self.data = Some(next);
                self.data_written = 0;
            } else if let Some(end) = self.end.take() {
                // which begins with what is owed
                self.owes_crlf = false;
                self.framing.extend_from_slice(&end);
            }
        }
        self.data.is_some() || !self.framing.is_empty()
    }

    fn pay_crlf(&mut self) {
        if std::mem::take(&mut self.owes_crlf) {
            self.framing.extend_from_slice(CRLF);
        }
    }
}
