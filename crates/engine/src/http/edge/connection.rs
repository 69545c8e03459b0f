//! A client's HTTP/2 connection: its task, its limits, its end.
//!
//! # How it works
//! One `poll` does everything in order: let `h2` read and act, start what it accepted, send what was gathered, look at the
//! one deadline that now matters. While draining, or when the connection is old or has carried its share of requests, a
//! GOAWAY says so and the streams in flight finish (RFC 9113 section 6.8).

use std::cell::RefCell;
use std::future::{poll_fn, Future};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use h2::server::{self, SendResponse};
use h2::{Reason, RecvStream};
use headgate_wire::{Flood, FrameMeter};
use http::Request;
use tokio::task::spawn_local;

use super::accepted::{Accepted, ActiveStreams};
use super::request_text::render;
use super::room::{Entry, Piece, Room};
use super::PREFACE;
use crate::hooks::connection::{ClientInfo, Protocol};
use crate::http::connection::serve_once;
use crate::snapshot::Http2;
use crate::state::admission::Counted;
use crate::state::connection::Connection;
use crate::state::refusal::{note_refusal, Refusal};
use crate::state::Shared;
use headgate_net::deadline::Watched;
use headgate_net::limits::Limit;
use headgate_net::peer::{late, Peer, BUFFER_BYTES};
use headgate_net::stream::Stream;
use headgate_shared::metrics::Counter;
use headgate_upstream::http2::incoming::Incoming;
use headgate_upstream::http2::transport::{HasPeer, Setting, Transport, Wire};
use headgate_upstream::LimitCounter;

/// What a stream holds of a response that its client does not take yet.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// A read may hold so many resets: the meter, which knows the limit's name, decides before `h2` does.
const RESETS_IN_A_READ: usize = BUFFER_BYTES / 13;

/// What clients say of priorities in the way of RFC 7540 counts for nothing (RFC 9218 section 2.1).
const NO_RFC7540_PRIORITIES: Setting = (9, 1);

/// The connection's window as a multiple of a stream's: so many stalled uploads do not yet stall the others.
const WINDOWS: u32 = 16;

impl HasPeer for Connection {
    fn peer(&mut self) -> &mut Peer {
        &mut self.peer
    }
}

/// Serves a connection that speaks HTTP/2, from its preface on.
pub(crate) async fn serve(mut connection: Connection) {
    let shared = connection.shared.clone();
    let settings = shared.tables().http2.clone();
    let mut client = ClientInfo::clone(&connection.client);
    client.protocol = Protocol::Http2;
    connection.client = Rc::new(client);
    shared.metrics.count(Counter::Http2Connections);
    let task = Task::new(connection, &settings);
    let wire = task.wire.clone();
    task.run().await;
    // `h2` and its streams have let go of it: the client may still be sending, and must be able to read the GOAWAY
    if let Ok(wire) = Rc::try_unwrap(wire) {
        wire.into_inner().owner.linger().await;
    }
}

type H2 = server::Connection<Transport<Connection>, Piece>;

struct Task {
    wire: Rc<RefCell<Wire<Connection>>>,
    watch: Watched,
    age: Watched,
    shared: Rc<Shared>,
    client: Rc<ClientInfo>,
    active: Rc<ActiveStreams>,
    room: Rc<Room>,
    settings: Http2,
    accepted: u64,
    /// A GOAWAY was sent.
    is_ending: bool,
    /// And it was for a flood: nothing more is read.
    is_refused: bool,
    /// How many bytes had left when it was last looked at.
    sent: u64,
}

/// Why a connection ends before its peer ends it.
enum ConnectionEnd {
    /// The peer or `h2` is done.
    Done,
    /// A deadline passed.
    Late(Limit),
}

impl Task {
    fn new(connection: Connection, settings: &Http2) -> Self {
        let shared = connection.shared.clone();
        let client = connection.client.clone();
        let meter = FrameMeter::new(settings.budget(), PREFACE.len(), shared.clock.now_ms());
        let wire = Wire::new(
            connection,
            Some(meter),
            shared.clock.clone(),
            shared.buffers.clone(),
        )
        .with_setting(NO_RFC7540_PRIORITIES);
        Self {
            wire: Rc::new(RefCell::new(wire)),
            watch: shared.deadlines.watch(&shared.clock),
            age: shared.deadlines.watch(&shared.clock),
            shared,
            client,
            active: Rc::default(),
            room: Rc::new(Room::new()),
            settings: settings.clone(),
            accepted: 0,
            is_ending: false,
            is_refused: false,
            sent: 0,
        }
    }

    async fn run(mut self) {
        let tables = self.shared.tables();
        let limits = &tables.limits;
        let list_bytes = limits.max_head_bytes + 32 * limits.max_header_fields;
        let window = self.settings.window_bytes;
        let mut builder = server::Builder::new();
        builder
            .max_concurrent_streams(self.settings.max_concurrent_streams)
            .initial_window_size(window)
            .initial_connection_window_size(window.saturating_mul(WINDOWS).min(i32::MAX as u32))
            .max_header_list_size(u32::try_from(list_bytes).unwrap_or(u32::MAX))
            .max_local_error_reset_streams(Some(self.settings.provoked_resets()))
            .max_pending_accept_reset_streams(self.settings.max_resets as usize + RESETS_IN_A_READ)
            .max_send_buffer_size(SEND_BUFFER_BYTES);
        if self.settings.websocket {
            builder.enable_connect_protocol();
        }
        self.watch.arm(Limit::ClientHead, tables.timeouts.client_head);
        self.age.arm(Limit::Http2Age, self.settings.max_age);
        drop(tables);
        let mut handshake = pin!(builder.handshake(Transport(self.wire.clone())));
        let begun = poll_fn(|context| {
            let polled = handshake.as_mut().poll(context);
            let sent = self.wire.borrow_mut().poll_send(context);
            match (polled, sent) {
                (Poll::Ready(Ok(h2)), _) => Poll::Ready(Some(h2)),
                (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => Poll::Ready(None),
                _ => late(&self.watch, context).map(|limit| {
                    if let headgate_net::peer::Broken::Limit(limit) = limit {
                        self.shared.metrics.count(limit.counter());
                    }
                    None
                }),
            }
        })
        .await;
        let Some(mut h2) = begun else { return };
        self.watch.disarm();
        self.drive(&mut h2).await;
    }

    async fn drive(&mut self, h2: &mut H2) {
        let shared = self.shared.clone();
        let mut stop = pin!(shared.stop.notified());
        let listener = self.client.listener.clone();
        if shared.drains(&listener) {
            self.shut_down_gracefully(h2);
        }
        let ended = poll_fn(|context| {
            while !self.is_ending && stop.as_mut().poll(context).is_ready() {
                if shared.drains(&listener) {
                    self.shut_down_gracefully(h2);
                } else {
                    stop.set(shared.stop.notified()); // another listener's
                }
            }
            self.poll(context, h2)
        })
        .await;
        self.room.close();
        if let ConnectionEnd::Late(limit) = ended {
            self.shared.metrics.count(limit.counter());
            if limit == Limit::ClientIdle {
                // nothing is in flight: the GOAWAY is a courtesy that is not waited for
                h2.abrupt_shutdown(Reason::NO_ERROR);
                let _ = poll_once(|context| h2.poll_closed(context)).await;
                let _ = poll_once(|context| self.wire.borrow_mut().poll_send(context)).await;
            }
        }
    }

    fn shut_down_gracefully(&mut self, h2: &mut H2) {
        self.is_ending = true;
        h2.graceful_shutdown();
    }

    fn poll(&mut self, context: &mut Context<'_>, h2: &mut H2) -> Poll<ConnectionEnd> {
        if let Some(meter) = &mut self.wire.borrow_mut().meter {
            meter.earn(self.active.frames_sent.take());
        }
        let mut is_over = false;
        loop {
            match h2.poll_accept(context) {
                Poll::Ready(Some(Ok((request, respond)))) => self.start(request, respond, h2),
                Poll::Ready(Some(Err(error))) => {
                    self.log_flood(&error);
                    is_over = true;
                    break;
                }
                Poll::Ready(None) => {
                    is_over = true;
                    break;
                }
                Poll::Pending => match self.flood() {
                    Some(flood) => {
                        self.refuse(flood, h2);
                        // `h2` reads no more; it sends its GOAWAY and closes
                    }
                    None => break,
                },
            }
        }
        if let Some(meter) = &mut self.wire.borrow_mut().meter {
            if let Some(wrong) = self.room.heed(meter, self.settings.max_concurrent_streams) {
                self.is_ending = true;
                h2.abrupt_shutdown(wrong);
                // it says so when it is asked next
                context.waker().wake_by_ref();
            }
        }
        self.room.let_go(context);
        let sent = self.wire.borrow_mut().poll_send(context);
        if is_over || matches!(sent, Poll::Ready(Err(_))) {
            return Poll::Ready(ConnectionEnd::Done);
        }
        let has_refused = std::mem::take(&mut self.wire.borrow_mut().has_refused);
        if sent.is_ready() && !has_refused {
            self.room.set_aside(context);
        }
        // some may have left while `h2` was writing
        let all_sent = self.wire.borrow().sent;
        let progress = std::mem::replace(&mut self.sent, all_sent) != all_sent;
        if progress && (sent.is_pending() || self.room.schedule.has_waiting()) {
            self.active.carried.set(self.active.carried.get() + 1);
        }
        self.poll_deadlines(context, h2, sent.is_pending(), progress)
    }

    /// What the meter saw, once.
    fn flood(&self) -> Option<Flood> {
        let flood = self.wire.borrow().meter.as_ref().and_then(FrameMeter::flood);
        flood.filter(|_| !self.is_refused)
    }

    fn refuse(&mut self, flood: Flood, h2: &mut H2) {
        let (limit, counter) = match flood {
            Flood::Control => ("http2.max_control_frames", Counter::LimitHttp2Control),
            Flood::Resets => ("http2.max_resets", Counter::LimitHttp2Resets),
        };
        self.log(&Refusal {
            error: "http2_flood",
            limit,
            counter: Some(counter),
        });
        self.is_ending = true;
        self.is_refused = true;
        h2.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
    }

    /// Tells of a flood that `h2` has noticed and ended by itself.
    fn log_flood(&self, error: &h2::Error) {
        if self.is_refused || !error.is_library() || error.reason() != Some(Reason::ENHANCE_YOUR_CALM) {
            return;
        }
        let meter = &self.wire.borrow().meter;
        let in_head = meter.as_ref().is_some_and(FrameMeter::is_in_header_block);
        let (limit, counter) = if in_head {
            ("limits.max_head_bytes", Counter::LimitHead)
        } else {
            ("http2.max_resets", Counter::LimitHttp2Resets)
        };
        self.log(&Refusal {
            error: "http2_flood",
            limit,
            counter: Some(counter),
        });
    }

    fn log(&self, refusal: &Refusal) {
        note_refusal(&self.shared, &self.client, refusal);
    }

    fn poll_deadlines(
        &mut self,
        context: &mut Context<'_>,
        h2: &mut H2,
        is_blocked: bool,
        progress: bool,
    ) -> Poll<ConnectionEnd> {
        let tables = self.shared.tables();
        let in_head = self
            .wire
            .borrow()
            .meter
            .as_ref()
            .is_some_and(FrameMeter::is_in_header_block);
        let now = if is_blocked {
            if progress {
                self.watch.disarm();
            }
            Some((Limit::Send, tables.timeouts.send))
        } else if in_head {
            Some((Limit::ClientHead, tables.timeouts.client_head))
        } else if self.active.count() == 0 {
            headgate_net::virtual_stream::remember(&mut self.active.waker.borrow_mut(), context);
            Some((Limit::ClientIdle, tables.timeouts.client_idle))
        } else {
            headgate_net::virtual_stream::remember(&mut self.active.waker.borrow_mut(), context);
            None
        };
        match now {
            Some((limit, ms)) if !self.watch.is_armed_for(limit) => self.watch.arm(limit, ms),
            Some(_) => {}
            None if self.watch.expired().is_some() => {}
            None => self.watch.disarm(),
        }
        if self.age.expired().is_some() {
            self.age.disarm();
            self.shared.metrics.count(Limit::Http2Age.counter());
            self.shut_down_gracefully(h2);
            context.waker().wake_by_ref();
        }
        self.age.register(context);
        if let Some(limit) = self.watch.expired() {
            return Poll::Ready(ConnectionEnd::Late(limit));
        }
        self.watch.register(context);
        Poll::Pending
    }

    /// Serves an accepted stream in a task of its own.
    fn start(&mut self, request: Request<RecvStream>, mut respond: SendResponse<Piece>, h2: &mut H2) {
        self.accepted += 1;
        let (parts, body) = request.into_parts();
        // a malformed one is logged, and its client gets a reset
        let protocol = parts.extensions.get::<h2::ext::Protocol>().map(AsRef::as_ref);
        let Ok(text) = render(&parts, protocol, body.is_end_stream(), || self.shared.nonce()) else {
            self.log(&Refusal::new("malformed_request", Counter::BadRequests));
            respond.send_reset(Reason::PROTOCOL_ERROR);
            return;
        };
        let entry = Entry::new(&self.room, respond.stream_id().as_u32(), &parts.headers);
        let incoming = Incoming::new(text.head, body, text.framing);
        let stream = Accepted::new(
            incoming,
            (respond, entry),
            text.is_head,
            text.is_connect,
            self.active.clone(),
        );
        let carried = Connection::open(
            Stream::Virtual(Box::new(stream)),
            self.client.clone(),
            self.shared.clone(),
            Counted::Not,
        );
        spawn_local(serve_once(carried));
        let most = self.shared.tables().limits.max_requests_per_connection;
        if most > 0 && self.accepted >= most && !self.is_ending {
            self.shut_down_gracefully(h2);
        }
    }
}

/// Polls once and does not wait.
async fn poll_once<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Option<T> {
    poll_fn(|context| {
        Poll::Ready(match poll(context) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        })
    })
    .await
}
