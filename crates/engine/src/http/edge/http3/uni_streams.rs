//! Streams that a client opens for the connection itself (RFC 9114 section 6.2): control, and those of QPACK.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;

use headgate_net::quic::{Connection, ReceiveStream};
use headgate_wire::http3::{check_settings, code, read_varint, FrameKind, SettingsError};

use crate::http::edge::priorities::Schedule;
use headgate_upstream::http3::frames::{close, varint, Frames, Wrong};

const CONTROL: u64 = 0x0;
const PUSH: u64 = 0x1;
const QPACK_ENCODER: u64 = 0x2;
const QPACK_DECODER: u64 = 0x3;

/// What a frame of the control stream may come to.
const MAX_CONTROL_BYTES: u64 = 4096;

/// Frames on a control stream behind the settings: what a client says there is little.
const MAX_CONTROL_FRAMES: u64 = 1_000;

/// So many more for each request: its priority may change.
const FRAMES_PER_REQUEST: u64 = 8;

/// What is taken of a stream of QPACK at once.
const CHUNK_BYTES: usize = 1024;

/// Which of the streams that there is one of are there.
#[derive(Default)]
pub(super) struct KnownStreams([Cell<bool>; 4]);

impl KnownStreams {
    /// Whether this is the first of its kind.
    fn is_first(&self, kind: u64) -> bool {
        usize::try_from(kind)
            .ok()
            .and_then(|kind| self.0.get(kind))
            .is_none_or(|seen| !seen.replace(true))
    }
}

/// What such a stream has to do with.
#[derive(Clone)]
pub(super) struct OfConnection {
    pub(super) connection: Connection,
    pub(super) known: Rc<KnownStreams>,
    pub(super) schedule: Rc<Schedule>,
    /// Requests that the client may have under way.
    pub(super) max_streams: u32,
}

/// Reads a stream to its end, or the connection's.
pub(super) async fn serve(of: OfConnection, mut stream: ReceiveStream) {
    let Some(kind) = read_kind(&mut stream).await else {
        return;
    };
    let result = match kind {
        CONTROL | QPACK_ENCODER | QPACK_DECODER if !of.known.is_first(kind) => Err(Wrong::Connection(
            code::STREAM_CREATION_ERROR,
            "a second stream of a kind that there is one of",
        )),
        CONTROL => control(&of, Frames::new(stream)).await,
        QPACK_ENCODER => instructions(stream, is_encoders, code::QPACK_ENCODER_STREAM_ERROR).await,
        QPACK_DECODER => instructions(stream, is_decoders, code::QPACK_DECODER_STREAM_ERROR).await,
        PUSH => Err(Wrong::Connection(
            code::STREAM_CREATION_ERROR,
            "a push from a client",
        )),
        _ => {
            stream.stop(varint(code::STREAM_CREATION_ERROR));
            Ok(())
        }
    };
    if let Err(Wrong::Connection(code, what) | Wrong::Stream(code, what)) = result {
        close(&of.connection, code, what);
    }
}

/// The stream's type. `None`: it ended before, which means nothing (RFC 9114 section 6.2).
async fn read_kind(stream: &mut ReceiveStream) -> Option<u64> {
    let mut bytes = Vec::with_capacity(8);
    loop {
        // an end without a type means nothing, as does a part of one
        bytes.extend_from_slice(&stream.chunk(1).await.ok()??);
        if let Some((kind, _)) = read_varint(&bytes) {
            return Some(kind);
        }
    }
}

const CLOSED: Wrong = Wrong::Connection(
    code::CLOSED_CRITICAL_STREAM,
    "a stream that the connection needs was closed",
);

const WRONG_LENGTH: Wrong = Wrong::Connection(code::FRAME_ERROR, "a frame with a wrong length");

async fn control(of: &OfConnection, mut frames: Frames) -> Result<(), Wrong> {
    let first = next(&mut frames).await?;
    if first.0 != FrameKind::Settings {
        return Err(Wrong::Connection(
            code::MISSING_SETTINGS,
            "a control stream that does not begin with settings",
        ));
    }
    check_settings(&first.1).map_err(|error| {
        let code = match error {
            SettingsError::Cut => code::FRAME_ERROR,
            SettingsError::Invalid => code::SETTINGS_ERROR,
            SettingsError::TooMany => code::EXCESSIVE_LOAD,
        };
        Wrong::Connection(code, "settings that must not be")
    })?;
    let (mut goaway, mut pushes) = (u64::MAX, 0);
    let mut count = 0;
    while count < MAX_CONTROL_FRAMES + of.schedule.begun() * FRAMES_PER_REQUEST {
        count += 1;
        let (kind, payload) = next(&mut frames).await?;
        let id = || match read_varint(&payload) {
            Some((id, used)) if used == payload.len() => Ok(id),
            _ => Err(WRONG_LENGTH),
        };
        let is_fine = match kind {
            // ids of pushes, of which there are none: they may only become fewer
            FrameKind::Goaway => std::mem::replace(&mut goaway, id()?) >= goaway,
            FrameKind::MaxPushId => std::mem::replace(&mut pushes, id()?) <= pushes,
            FrameKind::PriorityUpdate => {
                let (stream, used) = read_varint(&payload).ok_or(WRONG_LENGTH)?;
                of.schedule.update(stream, &payload[used..], of.max_streams)
            }
            // no push was ever named
            FrameKind::CancelPush | FrameKind::PushPriorityUpdate => false,
            _ => return Err(Wrong::unexpected("a frame that is not one of control streams")),
        };
        if !is_fine {
            return Err(Wrong::Connection(code::ID_ERROR, "an id that must not be"));
        }
    }
    Err(Wrong::Connection(code::EXCESSIVE_LOAD, "too many control frames"))
}

async fn next(frames: &mut Frames) -> Result<(FrameKind, Vec<u8>), Wrong> {
    let head = poll_fn(|context| frames.poll_head(context))
        .await
        .map_err(closed)?
        .ok_or(CLOSED)?;
    if head.length > MAX_CONTROL_BYTES {
        return Err(Wrong::Connection(
            code::EXCESSIVE_LOAD,
            "a frame that is too large",
        ));
    }
    let mut payload = Vec::new();
    poll_fn(|context| frames.poll_whole(context, &mut payload))
        .await
        .map_err(closed)?;
    Ok((head.kind, payload))
}

fn closed(wrong: Wrong) -> Wrong {
    match wrong {
        // a reset closes the stream, too; a connection that is gone takes no harm
        Wrong::Gone | Wrong::Rejected => CLOSED,
        other => other,
    }
}

/// Reads instructions of QPACK, of which only those are fine that change no table.
async fn instructions(mut stream: ReceiveStream, is_fine: fn(u8) -> bool, code: u64) -> Result<(), Wrong> {
    let mut is_within = false;
    loop {
        let chunk = stream.chunk(CHUNK_BYTES).await.map_err(|_| CLOSED)?;
        for byte in chunk.ok_or(CLOSED)? {
            if is_within {
                is_within = byte & 0x80 != 0;
            } else if is_fine(byte) {
                // an integer that goes on in the next bytes
                is_within = byte & 0x3f == 0x3f;
            } else {
                return Err(Wrong::Connection(
                    code,
                    "an instruction for a table that holds nothing",
                ));
            }
        }
    }
}

/// Set Dynamic Table Capacity, to nothing (RFC 9204 section 4.3.1).
fn is_encoders(instruction: u8) -> bool {
    instruction == 0x20
}

/// Stream Cancellation (RFC 9204 section 4.4.2).
fn is_decoders(instruction: u8) -> bool {
    instruction & 0xc0 == 0x40
}
