//! One request's stream: its head is read, translated, and served.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{ready, Context, Poll};

use headgate_wire::http3::{code, FrameKind};
use http::request::Parts;
use http::{header, HeaderMap};

use super::accepted::{Accepted, ActiveRequests, RequestGuard, Served};
use super::early;
use super::fields;
use super::outgoing::{Outgoing, Section};
use crate::hooks::connection::ClientInfo;
use crate::http::connection::serve_once;
use crate::http::edge::priorities::{Schedule, Turn};
use crate::http::edge::request_text::render;
use crate::state::admission::Counted;
use crate::state::connection::Connection;
use crate::state::refusal::{note_refusal, Refusal};
use crate::state::Shared;
use headgate_net::deadline::Watched;
use headgate_net::limits::Limit;
use headgate_net::peer::{late, Broken};
use headgate_net::quic::{ReceiveStream, SendStream};
use headgate_net::stream::Stream;
use headgate_shared::metrics::Counter;
use headgate_upstream::http2::fields::number;
use headgate_upstream::http3::fields::Unusable;
use headgate_upstream::http3::frames::{Frames, Wrong};
use headgate_upstream::http3::incoming::Incoming;
use headgate_upstream::LimitCounter;

/// What a request needs of its connection.
#[derive(Clone)]
pub(super) struct Carrier {
    pub(super) connection: headgate_net::quic::Connection,
    pub(super) client: Rc<ClientInfo>,
    pub(super) shared: Rc<Shared>,
    pub(super) active: Rc<ActiveRequests>,
    /// Which response is sent first.
    pub(super) schedule: Rc<Schedule>,
    /// The name of the socket that it came by.
    pub(super) listener: Rc<str>,
}

impl Carrier {
    /// Counts and logs what is not served.
    pub(super) fn log(&self, refusal: &Refusal) {
        note_refusal(&self.shared, &self.client, refusal);
    }
}

/// Why a request's head did not come.
enum NoHead {
    Unusable(Unusable),
    /// The client has ended the stream before.
    Incomplete,
    Late(Limit),
    /// It must not be served before the handshake is complete.
    TooEarly,
}

/// Serves the request of a stream.
pub(super) async fn serve(
    carrier: Carrier,
    (guard, turn): (RequestGuard, Turn),
    send: SendStream,
    receive: ReceiveStream,
) {
    let served = Served::new(guard, &send);
    let is_early = receive.is_early();
    let (mut frames, mut outgoing) = (Frames::new(receive), Outgoing::new(send, turn));
    let most = max_section_bytes(&carrier.shared);
    let head = read_head(&carrier, &mut frames, most).await;
    let mut parts = match head {
        Ok(parts) => parts,
        Err(no_head) => return refuse(&carrier, &served, (frames, outgoing), &no_head),
    };
    if is_early {
        carrier.shared.metrics.count(Counter::Http3EarlyRequests);
        if !early::may_be_early(&parts) {
            return refuse(&carrier, &served, (frames, outgoing), &NoHead::TooEarly);
        }
        early::mark(&mut parts);
    }
    outgoing.client_says(&parts.headers);
    // whether a body follows is in what comes next, and often here already
    let is_ended = ended(&mut frames).await;
    let protocol = parts.extensions.get::<fields::Protocol>();
    let protocol = protocol.map(|protocol| &*protocol.0);
    let Ok(text) = render(&parts, protocol, is_ended, || carrier.shared.nonce()) else {
        carrier.log(&Refusal::new("malformed_request", Counter::BadRequests));
        outgoing.reset(code::MESSAGE_ERROR);
        return frames.stop(code::MESSAGE_ERROR);
    };
    let declared = declared_length(&parts.headers);
    let trailers = carrier.shared.tables().limits.max_trailer_bytes;
    let connection = carrier.connection.clone();
    let incoming = Incoming::new(connection, frames, (text.head, text.framing), declared, trailers);
    let stream = Accepted::new(
        carrier.connection.clone(),
        incoming,
        outgoing,
        (text.is_head, text.is_connect),
        served.clone(),
    );
    let opened = Connection::open(
        Stream::Virtual(Box::new(stream)),
        carrier.client.clone(),
        carrier.shared.clone(),
        Counted::Not,
    );
    let shared = carrier.shared.clone();
    drop(carrier);
    serve_once(opened).await;
    let watch = shared.deadlines.watch(&shared.clock);
    let send_ms = shared.tables().timeouts.send;
    served.delivered(&watch, send_ms).await;
}

/// What a field section may come to, decoded.
pub(super) fn max_section_bytes(shared: &Shared) -> usize {
    let tables = shared.tables();
    tables.limits.max_head_bytes + 32 * tables.limits.max_header_fields
}

async fn read_head(carrier: &Carrier, frames: &mut Frames, most: usize) -> Result<Parts, NoHead> {
    let mut section = None;
    // nearly always all of it is here, and needs no deadline
    let here = poll_fn(|context| Poll::Ready(poll_section(frames, context, most, &mut section))).await;
    match here {
        Poll::Ready(read) => read?,
        Poll::Pending => {
            let shared = &carrier.shared;
            let watch = shared.deadlines.watch(&shared.clock);
            shared.busy.notify_one();
            watch.arm(Limit::ClientHead, shared.tables().timeouts.client_head);
            poll_fn(|context| {
                poll_watched(&watch, context, |context| {
                    poll_section(frames, context, most, &mut section)
                })
            })
            .await?;
        }
    }
    fields::request(section.as_deref().unwrap_or_default(), most).map_err(NoHead::Unusable)
}

/// Reads the frame that a request begins with into `section`.
fn poll_section(
    frames: &mut Frames,
    context: &mut Context<'_>,
    most: usize,
    section: &mut Option<Vec<u8>>,
) -> Poll<Result<(), NoHead>> {
    if section.is_none() {
        let head = ready!(frames.poll_head(context))?.ok_or(NoHead::Incomplete)?;
        if head.kind != FrameKind::Headers {
            return Poll::Ready(Err(Wrong::unexpected(
                "a request that does not begin with its fields",
            )
            .into()));
        }
        if head.length > most as u64 {
            return Poll::Ready(Err(NoHead::Unusable(Unusable::TooLarge)));
        }
    }
    let section = section.get_or_insert_default();
    frames.poll_whole(context, section).map_err(NoHead::from)
}

fn poll_watched(
    watch: &Watched,
    context: &mut Context<'_>,
    poll: impl FnOnce(&mut Context<'_>) -> Poll<Result<(), NoHead>>,
) -> Poll<Result<(), NoHead>> {
    if let Poll::Ready(done) = poll(context) {
        return Poll::Ready(done);
    }
    Poll::Ready(match ready!(late(watch, context)) {
        Broken::Limit(limit) => Err(NoHead::Late(limit)),
        Broken::Closed | Broken::Io(_) => Err(Wrong::Gone.into()),
    })
}

impl From<Wrong> for NoHead {
    fn from(wrong: Wrong) -> Self {
        Self::Unusable(Unusable::Wrong(wrong))
    }
}

/// Whether the stream ends right behind the head, as far as is known.
async fn ended(frames: &mut Frames) -> bool {
    poll_fn(|context| Poll::Ready(frames.is_ended_now(context))).await
}

fn declared_length(fields: &HeaderMap) -> Option<u64> {
    number(fields.get(header::CONTENT_LENGTH)?.as_bytes())
}

fn refuse(
    carrier: &Carrier,
    served: &Served,
    (mut frames, mut outgoing): (Frames, Outgoing),
    no_head: &NoHead,
) {
    let code = match no_head {
        NoHead::TooEarly => {
            carrier.log(&Refusal::new("too_early", Counter::Http3TooEarly));
            outgoing.send_head(Section::of_status(425), headgate_wire::Framing::None);
            return frames.stop(code::NO_ERROR);
        }
        NoHead::Unusable(Unusable::TooLarge) => {
            carrier.log(&Refusal {
                error: "head_too_large",
                limit: "limits.max_head_bytes",
                counter: Some(Counter::LimitHead),
            });
            outgoing.send_head(Section::of_status(431), headgate_wire::Framing::None);
            return frames.stop(code::NO_ERROR);
        }
        NoHead::Unusable(Unusable::Wrong(Wrong::Gone | Wrong::Rejected)) => {
            served.cancel();
            code::REQUEST_CANCELLED
        }
        NoHead::Unusable(Unusable::Wrong(wrong)) => {
            carrier.log(&Refusal::new("malformed_request", Counter::BadRequests));
            tracing::debug!(
                client = carrier.client.address,
                ?wrong,
                "malformed HTTP/3 request"
            );
            let _ = wrong.broken(&carrier.connection);
            code::MESSAGE_ERROR
        }
        NoHead::Incomplete => code::REQUEST_INCOMPLETE,
        NoHead::Late(limit) => {
            carrier.log(&Refusal {
                error: "client_too_slow",
                limit: limit.name(),
                counter: Some(limit.counter()),
            });
            code::REQUEST_INCOMPLETE
        }
    };
    outgoing.reset(code);
    frames.stop(code);
}
