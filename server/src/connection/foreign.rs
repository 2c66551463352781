//! A connection whose bytes somebody else accepted: anything that can be read and written.
//!
//! Such a thing does not tell whether it is ready, so that it is read ahead, and written from here.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::{Buf as _, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    time::timeout,
};

/// Most bytes that are read ahead.
const AHEAD: usize = 16 * 1024;

/// Most bytes that are taken before they are written.
const MOST_UNSENT: usize = 64 * 1024;

/// How long the end of a connection may take that cannot just be dropped.
const PATIENCE: Duration = Duration::from_secs(2);

/// Bytes in both directions.
trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection of another program part.
pub(crate) struct Foreign {
    io: Box<dyn Duplex>,
    ahead: BytesMut,
    /// The other side has ended; once told, what was read before stays readable.
    ended: bool,
    unsent: BytesMut,
    /// Something was written and may still be in a buffer below.
    unflushed: bool,
}

impl Foreign {
    pub(super) fn new(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self { io: Box::new(io), ahead: BytesMut::new(), ended: false, unsent: BytesMut::new(), unflushed: false }
    }

    /// Reads ahead, until there is something.
    pub(super) fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() && !self.ended {
            let mut space = [MaybeUninit::uninit(); AHEAD];
            let mut space = ReadBuf::uninit(&mut space);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut space))?;
            self.ahead = BytesMut::from(space.filled());
            self.ended = self.ahead.is_empty();
        }
        Poll::Ready(Ok(()))
    }

    /// What was read ahead; 0: the other side has ended.
    pub(super) fn try_read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        if self.ahead.is_empty() && !self.ended {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let ahead = std::mem::take(&mut self.ahead);
        buffer.extend_from_slice(&ahead);
        Ok(ahead.len())
    }

    /// Waits until all that was taken is written.
    pub(super) fn poll_write_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.unsent))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unflushed = true;
            self.unsent.advance(written);
        }
        // An idle connection holds no buffer.
        self.unsent = BytesMut::new();
        if self.unflushed {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Takes something, when all that was taken before is written.
    pub(super) fn try_write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if !self.try_flush()? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        for slice in slices {
            let room = MOST_UNSENT - self.unsent.len();
            self.unsent.extend_from_slice(&slice[..slice.len().min(room)]);
        }
        let taken = self.unsent.len();
        self.try_flush()?;
        Ok(taken)
    }

    /// Writes what can be written now. True when nothing is left. Whoever waits afterwards asks [`Foreign::poll_write_ready`],
    /// because nobody is woken by this.
    pub(super) fn try_flush(&mut self) -> io::Result<bool> {
        match self.poll_write_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => result.map(|()| true),
            Poll::Pending => Ok(false),
        }
    }

    /// Whether something that was taken is still here.
    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty() || self.unflushed
    }

    /// Tells the other side that nothing more comes.
    pub(super) async fn shutdown(&mut self) -> io::Result<()> {
        timeout(PATIENCE, self.io.shutdown()).await?
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncReadExt as _;

    use super::*;

    fn is_blocked<T: std::fmt::Debug>(result: io::Result<T>) -> bool {
        result.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    #[tokio::test]
    async fn what_does_not_fit_waits_and_nothing_is_lost() {
        let (near, mut far) = tokio::io::duplex(100);
        let mut stream = Foreign::new(near);
        let large = vec![7; MOST_UNSENT];
        let taken = stream.try_write(&[IoSlice::new(b"begin"), IoSlice::new(&large)]).expect("taken");
        assert_eq!(taken, MOST_UNSENT, "the rest is for the next time");
        assert!(stream.has_unsent() && is_blocked(stream.try_write(&[IoSlice::new(b"more")])));
        let reader = tokio::spawn(async move {
            let mut got = vec![0; MOST_UNSENT];
            far.read_exact(&mut got).await.expect("all of it");
            got
        });
        poll_fn(|cx| stream.poll_write_ready(cx)).await.expect("written");
        assert!(!stream.has_unsent());
        let got = reader.await.expect("no panic");
        assert!(got.starts_with(b"begin\x07") && got.ends_with(&[7, 7]));
    }

    #[tokio::test]
    async fn what_was_read_comes_before_the_end() {
        let (near, mut far) = tokio::io::duplex(100);
        let mut stream = Foreign::new(near);
        let mut buffer = BytesMut::new();
        assert!(is_blocked(stream.try_read(&mut buffer)));
        far.write_all(b"last words").await.expect("room");
        drop(far);
        poll_fn(|cx| stream.poll_read_ready(cx)).await.expect("bytes");
        assert_eq!(stream.try_read(&mut buffer).expect("bytes"), 10);
        assert!(is_blocked(stream.try_read(&mut buffer)));
        poll_fn(|cx| stream.poll_read_ready(cx)).await.expect("the end");
        assert_eq!(stream.try_read(&mut buffer).expect("the end"), 0);
        assert_eq!(buffer, "last words");
    }
}
