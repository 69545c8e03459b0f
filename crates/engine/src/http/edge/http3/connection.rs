//! A client's HTTP/3 connection: its control stream, its limits, its end.
//!
//! # How it works
//! One task takes streams as the client opens them and starts a task for each. While draining, or when the connection is
//! old or has carried its share of requests, a GOAWAY announces the end; requests that are on their way then are still
//! served, a moment later a second GOAWAY says which was the last, and the streams in flight finish (RFC 9114 section 5.2).

use std::future::{poll_fn, Future};
use std::pin::{pin, Pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use headgate_net::quic::{ReceiveStream, SendStream};
use headgate_wire::http3::{code, write_frame_header, write_settings, write_varint, FrameHead};
use tokio::task::{spawn_local, yield_now};
use tokio::time::{sleep, Sleep};

use super::accepted::RequestGuard;
use super::request::{self, max_section_bytes, Carrier};
use super::transport::{first_limit, next_limit};
use super::uni_streams::{self, OfConnection};
use crate::snapshot::Http3;
use crate::state::admission::Admission;
use crate::state::refusal::Refusal;
use headgate_net::deadline::Watched;
use headgate_net::limits::Limit;
use headgate_shared::metrics::Counter;
use headgate_upstream::http3::frames::{close, varint};
use headgate_upstream::LimitCounter;

/// The span in which requests that clients give up are counted, in milliseconds.
const SPAN_MS: u64 = 10_000;

/// Streams that a client may open for the connection itself over its life: three, and some that mean nothing.
const MAX_UNI_STREAMS: u32 = 100;

/// How long requests that were on their way at a GOAWAY are still served.
const GRACE: Duration = Duration::from_millis(300);

/// What the last GOAWAY may take beside two round trips: a lost packet is not waited for.
const LAST_WAY: Duration = Duration::from_millis(20);

/// Turns of the loop in which the last packets of a connection leave.
const TURNS_TO_SEND: usize = 4;

/// The id in a first GOAWAY: all requests are served (RFC 9114 section 5.2).
const EVERY_STREAM: u64 = (1 << 62) - 4;

/// Serves a connection to its end.
pub(super) async fn serve(carrier: Carrier, _admission: Admission) {
    carrier.shared.metrics.count(Counter::Http3Connections);
    let settings = carrier.shared.tables().http3.clone();
    let shared = carrier.shared.clone();
    let Some(control) = open_control(&carrier, &settings).await else {
        return;
    };
    let of_connection = OfConnection {
        connection: carrier.connection.clone(),
        known: Rc::default(),
        schedule: carrier.schedule.clone(),
        max_streams: settings.max_concurrent_streams,
    };
    let mut task = Task {
        watch: shared.deadlines.watch(&shared.clock),
        age: shared.deadlines.watch(&shared.clock),
        control,
        max_streams: first_limit(&settings),
        settings,
        of_connection,
        accepted: 0,
        uni_streams: 0,
        next_stream: 0,
        ending: Ending::Not,
        span_began_ms: shared.clock.now_ms(),
        cancelled: 0,
        carrier,
    };
    shared.busy.notify_one();
    task.age.arm(Limit::Http3Age, task.settings.max_age);
    task.run().await;
    // a worker that ends when its last connection does must have sent what this one has to say
    for _ in 0..TURNS_TO_SEND {
        yield_now().await;
    }
}

/// Sends this side's settings.
async fn open_control(carrier: &Carrier, settings: &Http3) -> Option<SendStream> {
    let mut control = carrier.connection.open_one_way().await.ok()?;
    // before any response
    control.set_priority(i32::MAX);
    let mut bytes = vec![0]; // the type of a control stream
    write_settings(
        max_section_bytes(&carrier.shared) as u64,
        settings.websocket,
        &mut bytes,
    );
    control.write_all(&bytes).await.ok()?;
    Some(control)
}

/// How far the connection's end has come.
enum Ending {
    Not,
    /// A first GOAWAY was sent; the last follows when this is over.
    Announced(Pin<Box<Sleep>>),
    /// The last GOAWAY was sent, and has arrived when this is over.
    Final(Pin<Box<Sleep>>),
}

struct Task {
    carrier: Carrier,
    watch: Watched,
    age: Watched,
    control: SendStream,
    settings: Http3,
    of_connection: OfConnection,
    accepted: u64,
    uni_streams: u32,
    /// Requests that the client may have under way at present.
    max_streams: u32,
    /// The id of the first stream that was not accepted.
    next_stream: u64,
    ending: Ending,
    span_began_ms: u64,
    /// Requests that the client gave up in the span.
    cancelled: u32,
}

enum Event {
    Request(SendStream, ReceiveStream),
    Uni(ReceiveStream),
    /// The client, or the path to it, is gone.
    Closed,
    /// All is said, or a bound is hit.
    Over,
}

impl Task {
    async fn run(&mut self) {
        let shared = self.carrier.shared.clone();
        let connection = self.carrier.connection.clone();
        let listener = self.carrier.listener.clone();
        let mut stop = pin!(shared.stop.notified());
        if shared.is_closed_listener(&listener) {
            self.announce_end();
        }
        loop {
            let event = {
                poll_fn(|context| {
                    if let Poll::Ready(accepted) = connection.poll_accept(context) {
                        return Poll::Ready(
                            accepted.map_or(Event::Closed, |(send, receive)| Event::Request(send, receive)),
                        );
                    }
                    if let Poll::Ready(accepted) = connection.poll_accept_one_way(context) {
                        return Poll::Ready(accepted.map_or(Event::Closed, Event::Uni));
                    }
                    if stop.as_mut().poll(context).is_ready() {
                        stop.set(shared.stop.notified());
                        if shared.is_closed_listener(&listener) {
                            self.announce_end();
                        }
                        let _ = stop.as_mut().poll(context);
                    }
                    self.poll_look(context)
                })
                .await
            };
            match event {
                Event::Request(send, receive) => self.start(send, receive),
                Event::Uni(_) if self.uni_streams == MAX_UNI_STREAMS => {
                    return close(
                        &connection,
                        code::EXCESSIVE_LOAD,
                        "too many streams that mean nothing",
                    );
                }
                Event::Uni(stream) => {
                    self.uni_streams += 1;
                    spawn_local(uni_streams::serve(self.of_connection.clone(), stream));
                }
                Event::Closed => return,
                Event::Over => return self.end(),
            }
        }
    }

    /// Serves a request in a task of its own.
    fn start(&mut self, mut send: SendStream, mut receive: ReceiveStream) {
        if matches!(self.ending, Ending::Final(_)) {
            send.reset(varint(code::REQUEST_REJECTED));
            receive.stop(varint(code::REQUEST_REJECTED));
            return;
        }
        self.accepted += 1;
        self.next_stream = self.next_stream.max(send.id() + 4);
        self.widen();
        // counted from now on, not from when its task begins: the connection is not idle
        let guard = RequestGuard::new(&self.carrier.active);
        let turn = self.carrier.schedule.begin(send.id());
        spawn_local(request::serve(self.carrier.clone(), (guard, turn), send, receive));
        let own = &self.carrier.client.preread;
        let own = own.as_ref().and_then(|preread| preread.max_requests.get());
        let most = own.unwrap_or_else(|| self.carrier.shared.tables().limits.max_requests_per_connection);
        if most > 0 && self.accepted >= most {
            self.announce_end();
        }
    }

    /// Lets the client have more requests under way, once it uses what it has.
    fn widen(&mut self) {
        let connection = &self.carrier.connection;
        let most = self.settings.max_concurrent_streams;
        let next = next_limit(connection.open_streams(), self.max_streams, most);
        if next > self.max_streams {
            self.max_streams = next;
            connection.set_max_streams(next);
        }
    }

    /// Says that the connection is about to end.
    fn announce_end(&mut self) {
        if matches!(self.ending, Ending::Not) {
            self.send_goaway(EVERY_STREAM);
            self.ending = Ending::Announced(Box::pin(sleep(GRACE)));
        }
    }

    fn send_goaway(&mut self, id: u64) {
        let mut payload = Vec::with_capacity(8);
        write_varint(id, &mut payload);
        let mut frame = Vec::with_capacity(16);
        write_frame_header(FrameHead::GOAWAY, payload.len() as u64, &mut frame);
        frame.extend_from_slice(&payload);
        // a client whose window has no room for a few bytes of control does not learn of it
        let mut context = Context::from_waker(std::task::Waker::noop());
        let _ = self.control.poll_write(&mut context, &frame);
    }

    /// Ready when something is to be looked at.
    fn poll_look(&mut self, context: &mut Context<'_>) -> Poll<Event> {
        self.carrier.active.register(context);
        self.count_cancelled();
        let mut is_late = false;
        let has_ended = self.poll_ending(context);
        let is_idle = self.carrier.active.count() == 0;
        match (is_idle, self.watch.is_armed_for(Limit::ClientIdle)) {
            (true, false) if matches!(self.ending, Ending::Not) => {
                self.watch.arm(Limit::ClientIdle, self.idle_ms());
            }
            (false, true) => self.watch.disarm(),
            _ => {}
        }
        for watch in [&self.watch, &self.age] {
            if let Some(limit) = watch.expired() {
                watch.disarm();
                self.carrier.shared.metrics.count(limit.counter());
                is_late = true;
            }
            watch.register(context);
        }
        if is_late {
            self.announce_end();
            context.waker().wake_by_ref();
        }
        if (is_idle && has_ended) || self.is_flood() || self.carrier.shared.is_closed.get() {
            return Poll::Ready(Event::Over);
        }
        Poll::Pending
    }

    /// Goes on with the end that was announced. True: all is said.
    fn poll_ending(&mut self, context: &mut Context<'_>) -> bool {
        if let Ending::Announced(grace) = &mut self.ending {
            if grace.as_mut().poll(context).is_pending() {
                return false;
            }
            self.send_goaway(self.next_stream);
            let way = self.carrier.connection.round_trip() * 2 + LAST_WAY;
            self.ending = Ending::Final(Box::pin(sleep(way)));
        }
        match &mut self.ending {
            Ending::Final(way) => way.as_mut().poll(context).is_ready() || way.is_elapsed(),
            Ending::Not | Ending::Announced(_) => false,
        }
    }

    fn idle_ms(&self) -> u64 {
        let own = &self.carrier.client.preread;
        let own = own.as_ref().and_then(|preread| preread.idle_ms.get());
        own.unwrap_or_else(|| self.carrier.shared.tables().timeouts.client_idle)
    }

    fn count_cancelled(&mut self) {
        let now_ms = self.carrier.shared.clock.now_ms();
        if now_ms >= self.span_began_ms + SPAN_MS {
            (self.span_began_ms, self.cancelled) = (now_ms, 0);
        }
        self.cancelled += self.carrier.active.take_cancelled();
    }

    fn is_flood(&self) -> bool {
        self.cancelled > self.settings.max_resets
    }

    /// Ends the connection, and says why to whom it concerns.
    fn end(&self) {
        let connection = &self.carrier.connection;
        if !self.is_flood() {
            return close(connection, code::NO_ERROR, "");
        }
        self.carrier.log(&Refusal {
            error: "http3_flood",
            limit: "http3.max_resets",
            counter: Some(Counter::LimitHttp3Resets),
        });
        close(
            connection,
            code::EXCESSIVE_LOAD,
            "too many requests were given up",
        );
    }
}
