//! The server of a lab: it reads requests strictly, keeps them, and responds with what was queued.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::Path;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio::task::spawn_local;

use super::strict::request_end;

/// What it responds to one request.
#[derive(Clone, Default)]
pub(crate) struct Reply {
    pieces: Vec<Vec<u8>>,
    closes: bool,
    is_early: bool,
}

impl Reply {
    /// These bytes; the connection stays open.
    pub(crate) fn new(bytes: impl AsRef<[u8]>) -> Self {
        Self {
            pieces: vec![bytes.as_ref().to_vec()],
            ..Self::default()
        }
    }

    /// Nothing, ever.
    pub(crate) fn silence() -> Self {
        Self::default().then_after_a_word(b"")
    }

    /// Closes behind them.
    pub(crate) fn and_closes(mut self) -> Self {
        self.closes = true;
        self
    }

    /// Goes out as soon as the request's head is there.
    pub(crate) fn early(mut self) -> Self {
        self.is_early = true;
        self
    }

    /// More bytes, once the test gives the word ([`Server::go_on`]).
    pub(crate) fn then_after_a_word(mut self, bytes: impl AsRef<[u8]>) -> Self {
        if self.pieces.is_empty() {
            self.pieces.push(Vec::new());
        }
        self.pieces.push(bytes.as_ref().to_vec());
        self
    }
}

/// What it was sent.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Which connection it came on, from 1.
    pub(crate) connection: usize,
    /// The whole message.
    pub(crate) text: String,
}

type Rule = Box<dyn Fn(&str) -> Reply>;

#[derive(Default)]
struct State {
    replies: RefCell<VecDeque<Reply>>,
    rule: RefCell<Option<Rule>>,
    seen: RefCell<Vec<Seen>>,
    connections: RefCell<usize>,
    word: Notify,
}

/// See the module.
pub(crate) struct Server(Rc<State>);

impl Server {
    pub(super) fn listen(path: &Path) -> Self {
        let listener = UnixListener::bind(path).expect("the socket is free");
        let state = Rc::new(State::default());
        let accepting = Rc::clone(&state);
        spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *accepting.connections.borrow_mut() += 1;
                let connection = *accepting.connections.borrow();
                spawn_local(serve(stream, connection, Rc::clone(&accepting)));
            }
        });
        Self(state)
    }

    /// Queues a reply. Without one a request gets a 200 and `ok`.
    pub(crate) fn will(&self, reply: Reply) {
        self.0.replies.borrow_mut().push_back(reply);
    }

    /// What it responds to a request for which no reply is queued, by the request's text.
    pub(crate) fn responds(&self, rule: impl Fn(&str) -> Reply + 'static) {
        self.0.rule.replace(Some(Box::new(rule)));
    }

    /// All that it was sent so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.0.seen.borrow().clone()
    }

    /// How many connections were made to it.
    pub(crate) fn connections(&self) -> usize {
        *self.0.connections.borrow()
    }

    /// Lets a reply that waits for it go on.
    pub(crate) fn go_on(&self) {
        self.0.word.notify_one();
    }
}

async fn serve(mut stream: UnixStream, connection: usize, state: Rc<State>) {
    let mut unread = Vec::new();
    loop {
        let is_early = state.replies.borrow().front().is_some_and(|reply| reply.is_early);
        let end = loop {
            match request_end(&unread, is_early) {
                Some(end) => break end,
                None => match stream.read_buf(&mut unread).await {
                    Ok(0) | Err(_) => return,
                    Ok(_) => {}
                },
            }
        };
        let text = String::from_utf8_lossy(&unread[..end]).into_owned();
        unread.drain(..end);
        let queued = state.replies.borrow_mut().pop_front();
        let reply = queued.unwrap_or_else(|| match &*state.rule.borrow() {
            Some(rule) => rule(&text),
            None => Reply::new("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        });
        state.seen.borrow_mut().push(Seen { connection, text });
        for (at, piece) in reply.pieces.iter().enumerate() {
            if at > 0 {
                state.word.notified().await;
            }
            if stream.write_all(piece).await.is_err() {
                return;
            }
        }
        if reply.closes {
            return;
        }
    }
}
