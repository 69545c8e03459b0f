//! The first messages of a QUIC client, put together from the packets that carry them (RFC 9000 section 17.2.2).
//!
//! # How it works
//! A `ClientHello` comes in CRYPTO frames of Initial packets, which clients cut and order as they like. Pieces wait until
//! those before them are here. Two for one place must say the same: else two readers of one message could read two. What is
//! kept is bounded.

use crate::client_hello::ClientHelloError;
use crate::http3::read_varint;

const PADDING: u8 = 0;
const PING: u8 = 1;
const CRYPTO: u8 = 6;

/// Pieces that wait for those before them; clients are seen to make some twenty of a message.
const MAX_PIECES: usize = 128;

/// A packet with a long header that begins a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Initial<'a> {
    /// The version of QUIC.
    pub version: u32,
    /// Whom it is for, which its keys are made of (RFC 9001 section 5.2).
    pub destination: &'a [u8],
    /// Where its number begins, which is protected like the payload behind it.
    pub number_at: usize,
    /// The whole packet; others may follow in its datagram.
    pub bytes: &'a [u8],
}

/// Reads an Initial packet at the front of a datagram, as far as it is not protected.
pub fn parse_initial(bytes: &[u8]) -> Option<Initial<'_>> {
    let (first, rest) = bytes.split_first()?;
    // a long header of the type Initial, in version 1 and the drafts before it
    if first & 0xf0 != 0xc0 {
        return None;
    }
    let (version, rest) = rest.split_first_chunk::<4>()?;
    let (destination, rest) = take_short(rest)?;
    let (_, rest) = take_short(rest)?;
    let (length, used) = read_varint(rest)?;
    let rest = rest[used..].get(usize::try_from(length).ok()?..)?;
    let (length, used) = read_varint(rest)?;
    let number_at = bytes.len() - rest.len() + used;
    let end = number_at.checked_add(usize::try_from(length).ok()?)?;
    // what its protection takes a sample of (RFC 9001 section 5.4.2)
    if length < 20 {
        return None;
    }
    Some(Initial {
        version: u32::from_be_bytes(*version),
        destination,
        number_at,
        bytes: bytes.get(..end)?,
    })
}

/// A connection id, of at most twenty bytes.
fn take_short(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    (*length <= 20)
        .then(|| rest.split_at_checked(usize::from(*length)))
        .flatten()
}

/// See the module.
#[derive(Debug, Default)]
pub struct CryptoStream {
    message: Vec<u8>,
    /// What is not next, with the place that it belongs to.
    ahead: Vec<(usize, Vec<u8>)>,
    /// Two pieces have said different things of one place.
    is_contradictory: bool,
}

impl CryptoStream {
    /// What there is from the beginning on.
    ///
    /// # Errors
    /// The client has sent two messages in one.
    pub fn message(&self) -> Result<&[u8], ClientHelloError> {
        if self.is_contradictory {
            return Err(ClientHelloError::Malformed);
        }
        Ok(&self.message)
    }

    /// Takes what the frames of a packet carry, within the first `most` bytes.
    pub fn take(&mut self, mut payload: &[u8], most: usize) {
        while let Some((kind, rest)) = payload.split_first() {
            payload = match *kind {
                PADDING | PING => rest,
                CRYPTO => match self.piece(rest, most) {
                    Some(rest) => rest,
                    None => return,
                },
                // there is nothing to acknowledge yet, and no other is allowed here
                _ => return,
            };
        }
    }

    fn piece<'a>(&mut self, frame: &'a [u8], most: usize) -> Option<&'a [u8]> {
        let (offset, used) = read_varint(frame)?;
        let rest = &frame[used..];
        let (length, used) = read_varint(rest)?;
        let (data, rest) = rest[used..].split_at_checked(usize::try_from(length).ok()?)?;
        let offset = usize::try_from(offset).ok()?;
        if offset.checked_add(data.len())? > most || self.ahead.len() == MAX_PIECES {
            return None;
        }
        self.ahead.push((offset, data.to_vec()));
        self.join();
        Some(rest)
    }

    /// Moves what is next to the message.
    fn join(&mut self) {
        while let Some(at) = self
            .ahead
            .iter()
            .position(|(offset, _)| *offset <= self.message.len())
        {
            let (offset, data) = self.ahead.remove(at);
            let known = &self.message[offset..];
            let (again, new) = data.split_at(known.len().min(data.len()));
            self.is_contradictory |= *again != known[..again.len()];
            self.message.extend_from_slice(new);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http3::write_varint;

    fn crypto(offset: u64, data: &[u8]) -> Vec<u8> {
        let mut frame = vec![CRYPTO];
        write_varint(offset, &mut frame);
        write_varint(data.len() as u64, &mut frame);
        frame.extend_from_slice(data);
        frame
    }

    #[test]
    fn pieces_come_in_any_order_and_more_than_once() {
        let mut stream = CryptoStream::default();
        let first = [crypto(6, b"world"), vec![PING, PADDING], crypto(3, b"lo w")].concat();
        stream.take(&first, 100);
        assert_eq!(stream.message(), Ok(&b""[..]));
        stream.take(&[crypto(0, b"hel"), crypto(0, b"hell")].concat(), 100);
        assert_eq!(stream.message(), Ok(&b"hello world"[..]));
        stream.take(
            &[crypto(3, b"lo"), crypto(11, b""), crypto(9, b"ld!")].concat(),
            100,
        );
        assert_eq!(stream.message(), Ok(&b"hello world!"[..]));
    }

    #[test]
    fn pieces_that_contradict_each_other_are_no_message() {
        let orders: [&[(u64, &[u8])]; 4] = [
            &[(0, b"hello"), (3, b"LO")],
            &[(3, b"LO world"), (0, b"hello")],
            &[(3, b"lo"), (2, b"lL"), (0, b"he")],
            &[(0, b"hello"), (0, b"hello w"), (4, b"o W")],
        ];
        for pieces in orders {
            let mut stream = CryptoStream::default();
            for (offset, data) in pieces {
                stream.take(&crypto(*offset, data), 100);
            }
            assert_eq!(stream.message(), Err(ClientHelloError::Malformed), "{pieces:?}");
            stream.take(&crypto(5, b" world"), 100);
            assert_eq!(stream.message(), Err(ClientHelloError::Malformed));
        }
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut stream = CryptoStream::default();
        stream.take(&crypto(95, b"beyond"), 100);
        stream.take(&crypto(u64::MAX, b"x"), 100);
        assert!(stream.ahead.is_empty());
        for _ in 0..1000 {
            stream.take(&crypto(50, b"x"), 100);
        }
        assert_eq!(stream.ahead.len(), MAX_PIECES);
    }

    #[test]
    fn other_frames_and_cut_ones_end_a_packet() {
        let mut stream = CryptoStream::default();
        stream.take(&[vec![0x1c], crypto(0, b"x")].concat(), 100);
        let whole = crypto(0, b"abc");
        for end in 0..whole.len() {
            stream.take(&whole[..end], 100);
        }
        assert_eq!(stream.message(), Ok(&b""[..]));
    }

    #[test]
    fn an_initial_packet_is_read_up_to_its_number() {
        let mut packet = vec![0xc3, 0, 0, 0, 1, 2, 7, 8, 1, 9, 3, b't', b'o', b'k', 20];
        packet.extend([0; 20]);
        let datagram = [packet.clone(), vec![1; 5]].concat();
        let initial = parse_initial(&datagram).unwrap();
        assert_eq!((initial.version, initial.destination), (1, &[7, 8][..]));
        assert_eq!((initial.number_at, initial.bytes), (15, &packet[..]));
        for end in 0..packet.len() {
            assert!(parse_initial(&packet[..end]).is_none());
        }
        packet[0] = 0xe3; // a Handshake packet
        assert!(parse_initial(&packet).is_none());
    }
}
