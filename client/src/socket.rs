//! One open WebSocket: a bounded queue in front of it, batches out of it, and a watch on writes that stand still.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{Sink, Stream};
use tokio_tungstenite::tungstenite::{
    Error as WsError, Message,
    error::{CapacityError, ProtocolError},
    protocol::{CloseFrame, frame::Utf8Bytes},
};
use wse_client_core::{
    client::Fault,
    error::close,
    io::{Close, Frame, SocketId},
};

use crate::dial::{WebSocket, fault};

/// How long a socket may take to say goodbye: to write what was queued, its close frame, and to see the answer.
const FAREWELL: Duration = Duration::from_secs(2);

/// Longest reason in a close frame, in bytes. Source: RFC 6455 §5.5.
const MAX_REASON: usize = 123;

/// What came out of a socket.
pub(crate) enum Arrival {
    Frame(Frame),
    /// The last thing of a socket: it was closed by the other side.
    Closed(Close),
    /// The last thing of a socket: it broke. The close code tells the other side why, if it still listens.
    Broken(Fault, u16),
}

pub(crate) struct Socket {
    pub(crate) id: SocketId,
    inner: WebSocket,
    queued: VecDeque<Message>,
    queued_bytes: usize,
    /// The WebSocket layer holds bytes that the operating system has not taken.
    unflushed: bool,
    written: Arc<AtomicU64>,
    /// While anything waits: the count of written bytes when it last moved, and when that was.
    last_progress: Option<(u64, Instant)>,
}

impl Socket {
    pub(crate) fn new(id: SocketId, inner: WebSocket, written: Arc<AtomicU64>) -> Self {
        Self { id, inner, queued: VecDeque::new(), queued_bytes: 0, unflushed: false, written, last_progress: None }
    }

    /// Puts a frame in the queue. The senders keep it short, see `Shared::send`.
    pub(crate) fn push(&mut self, frame: Frame) {
        self.queued_bytes += frame.len();
        self.queued.push_back(match frame {
            Frame::Binary(bytes) => Message::Binary(bytes),
            // The engine writes only UTF-8; should it ever not, binary keeps the bytes.
            Frame::Text(bytes) => Utf8Bytes::try_from(bytes.clone()).map_or(Message::Binary(bytes), Message::Text),
        });
    }

    /// Bytes that the WebSocket layer has not taken.
    pub(crate) const fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// When to look whether a write stands still; `None` while nothing waits.
    pub(crate) fn write_deadline(&mut self, limit: Duration) -> Option<Instant> {
        if self.queued.is_empty() && !self.unflushed {
            self.last_progress = None;
            return None;
        }
        let written = self.written.load(Ordering::Relaxed);
        match self.last_progress {
            Some((before, since)) if before == written => Some(since + limit),
            _ => {
                let now = Instant::now();
                self.last_progress = Some((written, now));
                Some(now + limit)
            }
        }
    }

    /// Writes what it can and reads up to `budget` messages into `arrivals`. Ready when anything arrived or the queue
    /// got shorter. Dropping the future loses nothing.
    pub(crate) async fn progress(&mut self, budget: usize, arrivals: &mut Vec<Arrival>) {
        let before = self.queued.len();
        poll_fn(|cx| {
            if let Err(error) = self.poll_write(cx) {
                arrivals.push(broken(error));
                return Poll::Ready(());
            }
            self.poll_read(cx, budget, arrivals);
            if arrivals.is_empty() && self.queued.len() == before { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<(), WsError> {
        while !self.queued.is_empty() {
            let Poll::Ready(ready) = Pin::new(&mut self.inner).poll_ready(cx) else { return Ok(()) };
            ready?;
            if let Some(message) = self.queued.pop_front() {
                self.queued_bytes = self.queued_bytes.saturating_sub(message.len());
                Pin::new(&mut self.inner).start_send(message)?;
                self.unflushed = true;
            }
        }
        if self.unflushed
            && let Poll::Ready(flushed) = Pin::new(&mut self.inner).poll_flush(cx)
        {
            flushed?;
            self.unflushed = false;
        }
        Ok(())
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, budget: usize, arrivals: &mut Vec<Arrival>) {
        while arrivals.len() < budget {
            let Poll::Ready(next) = Pin::new(&mut self.inner).poll_next(cx) else { return };
            let last = match next {
                Some(Ok(Message::Text(text))) => {
                    arrivals.push(Arrival::Frame(Frame::Text(Bytes::from(text))));
                    continue;
                }
                Some(Ok(Message::Binary(bytes))) => {
                    arrivals.push(Arrival::Frame(Frame::Binary(bytes)));
                    continue;
                }
                // Pings are answered by the WebSocket layer, whose answer must be flushed.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {
                    self.unflushed = true;
                    continue;
                }
                Some(Ok(Message::Close(frame))) => Arrival::Closed(frame.map_or_else(
                    || Close::new(close::NO_STATUS, ""),
                    |frame| Close::new(frame.code.into(), frame.reason.as_str()),
                )),
                Some(Err(error)) => broken(error),
                None => Arrival::Closed(Close::abnormal()),
            };
            arrivals.push(last);
            return;
        }
    }

    /// Writes what is queued and a close frame, then waits for the other side to hang up; bounded.
    pub(crate) async fn farewell(mut self, close: Close) {
        let frame = CloseFrame { code: close.code.into(), reason: shortened(&close.reason).into() };
        // 1005 and 1006 never go on the wire. Source: RFC 6455 §7.4.1.
        let unspoken = matches!(close.code, close::NO_STATUS | close::ABNORMAL);
        self.queued.push_back(Message::Close((!unspoken).then_some(frame)));
        let parting = async {
            let mut arrivals = Vec::new();
            loop {
                self.progress(16, &mut arrivals).await;
                if arrivals.drain(..).any(|arrival| !matches!(arrival, Arrival::Frame(_))) {
                    break;
                }
            }
            // The close frame is the last word, but its answer may still wait in the WebSocket layer.
            let _ = poll_fn(|cx| Pin::new(&mut self.inner).poll_flush(cx)).await;
        };
        let _ = tokio::time::timeout(FAREWELL, parting).await;
    }
}

/// The longest prefix of whole characters that a close frame can carry.
fn shortened(reason: &str) -> String {
    let mut end = reason.len().min(MAX_REASON);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason[..end].to_owned()
}

fn broken(error: WsError) -> Arrival {
    let code = match &error {
        WsError::ConnectionClosed
        | WsError::AlreadyClosed
        | WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => return Arrival::Closed(Close::abnormal()),
        WsError::Capacity(CapacityError::MessageTooLong { .. }) => close::TOO_BIG,
        WsError::Utf8(_) => close::INVALID_DATA,
        WsError::Protocol(_) => close::PROTOCOL,
        _ => close::ABNORMAL,
    };
    Arrival::Broken(fault(&error), code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_cut_at_whole_characters() {
        assert_eq!(shortened("bye"), "bye");
        let long = "é".repeat(100);
        assert_eq!(shortened(&long).len(), 122);
    }
}
