//! A client of a lab that speaks HTTP/2, by a library that refuses what RFC 9113 calls malformed.

use bytes::Bytes;
use h2::client::{handshake, SendRequest};
use headgate_engine::VirtualEnd;
use http::Request;
use tokio::task::spawn_local;

use super::strict::Message;

/// See the module.
pub(crate) struct Http2Client {
    requests: SendRequest<Bytes>,
}

impl Http2Client {
    pub(super) async fn connect(end: VirtualEnd) -> Self {
        let (requests, connection) = handshake(end).await.expect("the worker speaks HTTP/2");
        spawn_local(async move {
            let _ = connection.await;
        });
        Self { requests }
    }

    /// A request without body, and its whole response.
    pub(crate) async fn request(&self, method: &str, target: &str) -> Result<Message, String> {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://a{target}"))
            .body(())
            .expect("it is a request");
        let error = |error: h2::Error| error.to_string();
        let mut requests = self.requests.clone().ready().await.map_err(error)?;
        let (response, _) = requests.send_request(request, true).map_err(error)?;
        let (head, mut body) = response.await.map_err(error)?.into_parts();
        let (mut content, mut trailers) = (Vec::new(), Vec::new());
        while let Some(data) = body.data().await {
            let data = data.map_err(error)?;
            let _ = body.flow_control().release_capacity(data.len());
            content.extend_from_slice(&data);
        }
        if let Some(map) = body.trailers().await.map_err(error)? {
            trailers = fields(&map);
        }
        let message = Message {
            status: head.status.as_u16(),
            reason: String::new(),
            fields: fields(&head.headers),
            body: content,
            trailers,
            interim: Vec::new(),
            text: format!("{head:?}"),
        };
        check(&message, method)?;
        Ok(message)
    }
}

/// What the library does not look at.
fn check(message: &Message, method: &str) -> Result<(), String> {
    let length = message.field("content-length");
    let is_empty = method == "HEAD" || matches!(message.status, 204 | 205 | 304);
    if is_empty && !message.body.is_empty() {
        return Err(format!("a {} to {method} with content", message.status));
    }
    if message.status == 204 && length.is_some() {
        return Err(format!("a 204 with Content-Length: {}", message.text));
    }
    if !is_empty && length.is_some_and(|length| length != message.body.len().to_string()) {
        return Err(format!("another length than was told: {}", message.text));
    }
    if message
        .field("date")
        .is_none_or(|date| date.contains(',') && date.matches("GMT").count() != 1)
    {
        return Err(format!("other than one Date: {}", message.text));
    }
    if message.field("transfer-encoding").is_some() || message.field("connection").is_some() {
        return Err(format!("a field of HTTP/1: {}", message.text));
    }
    Ok(())
}

fn fields(map: &http::HeaderMap) -> Vec<(String, String)> {
    let lossy = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    map.iter()
        .map(|(name, value)| (name.as_str().to_owned(), lossy(value)))
        .collect()
}
