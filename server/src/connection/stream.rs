//! The bytes of one WebSocket connection, with or without TLS. Nothing here waits but [`Stream::ready`].

use std::io::{self, BufRead as _, IoSlice, Read, Write};

use bytes::BytesMut;
use rustls::ServerConnection;
use tokio::{
    io::{AsyncWriteExt as _, Interest, Ready},
    net::TcpStream,
};

/// An open socket.
pub(crate) enum Stream {
    /// As it is.
    Plain(TcpStream),
    /// Through TLS.
    Tls(Box<Secured>),
}

/// A TLS session and its socket.
pub(crate) struct Secured {
    tcp: TcpStream,
    session: ServerConnection,
}

impl Stream {
    /// A session whose handshake is done.
    pub(crate) fn tls(tcp: TcpStream, session: ServerConnection) -> Self {
        Self::Tls(Box::new(Secured { tcp, session }))
    }

    const fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(secured) => &secured.tcp,
        }
    }

    /// Waits until the socket can do one of these.
    pub(crate) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        self.tcp().ready(interest).await
    }

    /// Reads what is there to the end of `buffer`; 0: the other side has ended.
    pub(crate) fn try_read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.try_read_buf(buffer),
            Self::Tls(secured) => secured.try_read(buffer),
        }
    }

    /// Takes as much as it can hold.
    pub(crate) fn try_write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.try_write_vectored(slices),
            Self::Tls(secured) => secured.try_write(slices),
        }
    }

    /// Writes what was taken and is still here. True when nothing is left.
    pub(crate) fn try_flush(&mut self) -> io::Result<bool> {
        match self {
            Self::Plain(_) => Ok(true),
            Self::Tls(secured) => secured.flush(),
        }
    }

    /// Whether something that was taken is still here.
    pub(crate) fn has_unsent(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(secured) => secured.session.wants_write(),
        }
    }

    /// Tells the other side that nothing more comes.
    pub(crate) async fn shutdown(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.shutdown().await,
            Self::Tls(secured) => {
                secured.session.send_close_notify();
                // What the socket does not take now is lost with it; the WebSocket close frame is out already.
                secured.flush()?;
                secured.tcp.shutdown().await
            }
        }
    }
}

impl Secured {
    fn try_read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        loop {
            match self.take_plaintext(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                taken => return taken,
            }
            if self.session.read_tls(&mut Now(&self.tcp))? == 0 {
                return Ok(0);
            }
            if let Err(error) = self.session.process_new_packets() {
                // The alert that says why; whether it arrives changes nothing.
                let _ = self.flush();
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
    }

    /// All that is decrypted. Nothing stays behind, because the socket would not tell of it.
    fn take_plaintext(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        let mut taken = 0;
        let mut reader = self.session.reader();
        loop {
            match reader.fill_buf() {
                Ok([]) => return Ok(taken),
                Ok(bytes) => {
                    let count = bytes.len();
                    buffer.extend_from_slice(bytes);
                    reader.consume(count);
                    taken += count;
                }
                Err(_) if taken > 0 => return Ok(taken),
                Err(error) => return Err(error),
            }
        }
    }

    fn try_write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.flush()?;
        let taken = self.session.writer().write_vectored(slices)?;
        if taken == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.flush()?;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<bool> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut Now(&self.tcp)) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

/// A socket that is read and written without waiting.
struct Now<'a>(&'a TcpStream);

impl Read for Now<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl Write for Now<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
