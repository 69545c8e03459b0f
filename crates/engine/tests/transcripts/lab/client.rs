//! A client of a lab: it sends bytes as they are and reads responses strictly.

use headgate_engine::VirtualEnd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::strict::{self, Message};

/// See the module.
pub(crate) struct Client {
    end: VirtualEnd,
    unread: Vec<u8>,
    is_ended: bool,
}

impl Client {
    pub(super) fn new(end: VirtualEnd) -> Self {
        Self {
            end,
            unread: Vec::new(),
            is_ended: false,
        }
    }

    /// Sends bytes. A gateway that has closed already is none of the client's faults.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.end.write_all(bytes.as_ref()).await;
    }

    /// Sends no more.
    pub(crate) async fn finish(&mut self) {
        let _ = self.end.shutdown().await;
    }

    /// The next final response to a request with `method`, or what a strict client has against it.
    pub(crate) async fn response(&mut self, method: &str) -> Result<Message, String> {
        loop {
            match strict::response(&self.unread, method, self.is_ended)? {
                Some((message, end)) => {
                    self.unread.drain(..end);
                    return Ok(message);
                }
                None if self.is_ended => {
                    return Err(format!(
                        "the connection ended within a response: {:?}",
                        String::from_utf8_lossy(&self.unread)
                    ));
                }
                None => self.read().await,
            }
        }
    }

    /// The response to a GET.
    pub(crate) async fn get(&mut self, target: &str) -> Result<Message, String> {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"))
            .await;
        self.response("GET").await
    }

    /// Everything up to the connection's end.
    pub(crate) async fn rest(&mut self) -> String {
        while !self.is_ended {
            self.read().await;
        }
        String::from_utf8_lossy(&std::mem::take(&mut self.unread)).into_owned()
    }

    /// Whether the connection serves another request: one is sent, and the response to just that one must come, or the end.
    pub(crate) async fn is_kept(&mut self) -> Result<bool, String> {
        self.send("GET /probe HTTP/1.1\r\nHost: a\r\n\r\n").await;
        while self.unread.is_empty() && !self.is_ended {
            self.read().await;
        }
        if self.unread.is_empty() {
            return Ok(false);
        }
        let message = self.response("GET").await?;
        if message.status == 200 && message.body == b"probe" {
            Ok(true)
        } else {
            Err(format!("the next response is not the next one: {}", message.text))
        }
    }

    /// Reads at most so many bytes and throws them away.
    pub(crate) async fn take(&mut self, most: usize) -> usize {
        let mut bytes = vec![0; most];
        self.end.read(&mut bytes).await.unwrap_or(0)
    }

    async fn read(&mut self) {
        match self.end.read_buf(&mut self.unread).await {
            Ok(0) | Err(_) => self.is_ended = true,
            Ok(_) => {}
        }
    }
}
