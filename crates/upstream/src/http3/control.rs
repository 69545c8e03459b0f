//! Streams of a connection's own, with a server (RFC 9114 section 6.2): what is told there, and heard.

use std::future::poll_fn;

use headgate_net::quic::{Connection, ReceiveStream, SendStream};
use headgate_wire::http3::{check_settings, code, read_varint, write_settings, FrameKind};

use super::frames::{close, varint, Frames, Wrong};

/// The types of streams (RFC 9114 section 11.2.4, RFC 9204 section 8.2).
const CONTROL: u64 = 0;
const PUSH: u64 = 1;
const QPACK: [u64; 2] = [2, 3];

/// What a frame there may come to.
const MAX_FRAME_BYTES: u64 = 4096;

/// Frames that a server may say there.
const MAX_FRAMES: usize = 1_000;

/// Says what this side can take. The stream must stay open as long as the connection.
pub(super) async fn open(connection: &Connection, max_section_bytes: usize) -> Option<SendStream> {
    let mut stream = connection.open_one_way().await.ok()?;
    let mut bytes = vec![0]; // the type of a control stream
    write_settings(max_section_bytes as u64, false, &mut bytes);
    stream.write_all(&bytes).await.ok()?;
    Some(stream)
}

/// Hears a stream of the server's to its end. `leaving` is called when the server takes no more requests.
pub(super) async fn hear(connection: Connection, mut stream: ReceiveStream, leaving: impl Fn()) {
    let Some(kind) = kind(&mut stream).await else {
        return;
    };
    let heard = match kind {
        CONTROL => control(Frames::new(stream), leaving).await,
        // the table that it would fill holds nothing: what is said there means nothing either
        kind if QPACK.contains(&kind) => instructions(stream).await,
        PUSH => Err(Wrong::Connection(code::ID_ERROR, "a push that was not allowed")),
        _ => {
            stream.stop(varint(code::STREAM_CREATION_ERROR));
            Ok(())
        }
    };
    if let Err(Wrong::Connection(code, what) | Wrong::Stream(code, what)) = heard {
        close(&connection, code, what);
    }
}

async fn kind(stream: &mut ReceiveStream) -> Option<u64> {
    let mut bytes = Vec::with_capacity(8);
    loop {
        bytes.extend_from_slice(&stream.chunk(1).await.ok()??);
        if let Some((kind, _)) = read_varint(&bytes) {
            return Some(kind);
        }
    }
}

async fn control(mut frames: Frames, leaving: impl Fn()) -> Result<(), Wrong> {
    let closed = Wrong::Connection(code::CLOSED_CRITICAL_STREAM, "the control stream was closed");
    for number in 0..MAX_FRAMES {
        let head = poll_fn(|context| frames.poll_head(context))
            .await?
            .ok_or(closed)?;
        if head.length > MAX_FRAME_BYTES {
            return Err(Wrong::Connection(
                code::EXCESSIVE_LOAD,
                "a frame that is too large",
            ));
        }
        let mut payload = Vec::new();
        poll_fn(|context| frames.poll_whole(context, &mut payload)).await?;
        match head.kind {
            FrameKind::Settings if number == 0 => check_settings(&payload)
                .map_err(|_| Wrong::Connection(code::SETTINGS_ERROR, "settings that must not be"))?,
            _ if number == 0 => {
                return Err(Wrong::Connection(
                    code::MISSING_SETTINGS,
                    "a control stream that does not begin with settings",
                ));
            }
            FrameKind::Goaway => leaving(),
            FrameKind::CancelPush => {}
            _ => return Err(Wrong::unexpected("a frame that is not one of servers")),
        }
    }
    Err(Wrong::Connection(code::EXCESSIVE_LOAD, "too many control frames"))
}

async fn instructions(mut stream: ReceiveStream) -> Result<(), Wrong> {
    let mut count = 0;
    while let Ok(Some(bytes)) = stream.chunk(1024).await {
        count += bytes.len();
        if count > MAX_FRAMES {
            return Err(Wrong::Connection(code::EXCESSIVE_LOAD, "too many instructions"));
        }
    }
    Ok(())
}
