//! This crate's sockets without the protocol above them, for conformance tests of what is below it.

use wse_client_core::{
    client::Fault,
    error::close,
    io::{Close, Frame, SocketId},
    wire::Limits,
};

use crate::{
    dial::{Dialer, fault},
    socket::{Arrival, Socket},
    tls::client_config,
};

/// The largest message that the tests send.
const LARGEST: usize = 16 << 20;

/// Messages taken from the socket at a time.
const BUDGET: usize = 64;

/// Connects and sends every message back as it came, until the other side closes or breaks the rules; then closes as the
/// client does.
///
/// # Errors
/// A text when no connection comes about.
pub async fn echo(url: &str) -> Result<(), String> {
    let mut socket = connect(url).await?;
    let mut arrivals = Vec::new();
    loop {
        socket.progress(BUDGET, &mut arrivals).await;
        for arrival in arrivals.drain(..) {
            match arrival {
                Arrival::Frame(frame) => socket.push(frame),
                Arrival::Closed(close) => return Ok(socket.farewell(close).await),
                Arrival::Broken(_, close::ABNORMAL) => return Ok(()),
                Arrival::Broken(fault, code) => return Ok(socket.farewell(Close::new(code, fault.detail)).await),
            }
        }
    }
}

/// The first message of a connection as text; `None` when it ends without one.
///
/// # Errors
/// A text when no connection comes about.
pub async fn first_message(url: &str) -> Result<Option<String>, String> {
    let mut socket = connect(url).await?;
    let mut arrivals = Vec::new();
    socket.progress(1, &mut arrivals).await;
    let first = arrivals.into_iter().find_map(|arrival| match arrival {
        Arrival::Frame(Frame::Text(text)) => Some(String::from_utf8_lossy(&text).into_owned()),
        _ => None,
    });
    socket.farewell(Close::normal()).await;
    Ok(first)
}

async fn connect(url: &str) -> Result<Socket, String> {
    let told = |fault: Fault| fault.detail;
    let limits = Limits { max_frame: LARGEST, ..Limits::default() };
    let dialer = Dialer::new(client_config(&[]).map_err(|error| told(fault(&error)))?, &limits);
    let (inner, written) = dialer.dial(url, None).await.map_err(told)?;
    Ok(Socket::new(SocketId(1), inner, written))
}
