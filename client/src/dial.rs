//! From a URL to an open WebSocket: TCP, TLS, upgrade. How long it may take is the engine's decision.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config,
    tungstenite::{
        Error as WsError,
        client::IntoClientRequest as _,
        handshake::client::Request,
        http::{HeaderValue, Uri, header},
        protocol::WebSocketConfig,
    },
};
use wse_client_core::{client::Fault, security::Secret, wire::Limits};

/// An open WebSocket over TCP or TLS.
pub(crate) type WebSocket = WebSocketStream<MaybeTlsStream<MeteredTcp>>;

/// What every attempt has in common.
pub(crate) struct Dialer {
    tls: Arc<rustls::ClientConfig>,
    websocket: WebSocketConfig,
}

impl Dialer {
    pub(crate) fn new(tls: Arc<rustls::ClientConfig>, limits: &Limits) -> Self {
        let websocket = WebSocketConfig::default()
            .read_buffer_size(64 * 1024)
            .write_buffer_size(32 * 1024)
            .max_message_size(Some(limits.max_frame))
            .max_frame_size(Some(limits.max_frame));
        Self { tls, websocket }
    }

    /// Dials once; dropping the future abandons the attempt.
    pub(crate) fn dial(
        &self,
        url: &str,
        token: Option<&Secret>,
    ) -> impl Future<Output = Result<(WebSocket, Arc<AtomicU64>), Fault>> + Send + 'static {
        let request = upgrade_request(url, token);
        let (connector, websocket) = (Connector::Rustls(Arc::clone(&self.tls)), self.websocket);
        async move {
            let request = request?;
            let tcp = connect(request.uri()).await.map_err(|error| fault(&error))?;
            // Small frames must not wait for more: the driver flushes whole batches by itself.
            tcp.set_nodelay(true).map_err(|error| fault(&error))?;
            let written = Arc::new(AtomicU64::new(0));
            let metered = MeteredTcp { inner: tcp, written: Arc::clone(&written) };
            match client_async_tls_with_config(request, metered, Some(websocket), Some(connector)).await {
                Ok((socket, _)) => Ok((socket, written)),
                Err(WsError::Http(response)) => Err(Fault {
                    http_status: Some(response.status().as_u16()),
                    detail: format!("the server answered HTTP {} to the upgrade", response.status()),
                }),
                Err(error) => Err(fault(&error)),
            }
        }
    }
}

async fn connect(uri: &Uri) -> io::Result<TcpStream> {
    let host = uri.host().unwrap_or_default();
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("wss") { 443 } else { 80 });
    TcpStream::connect((host, port))
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("cannot reach {host} port {port}: {error}")))
}

/// The token goes out in both forms that servers of this protocol read. Source: PROTOCOL.md §4.2.
fn upgrade_request(url: &str, token: Option<&Secret>) -> Result<Request, Fault> {
    let mut request = url.into_client_request().map_err(|error| fault(&error))?;
    let headers = request.headers_mut();
    headers.insert(header::USER_AGENT, HeaderValue::from_static(concat!("wse-client/", env!("CARGO_PKG_VERSION"))));
    if let Some(token) = token {
        for (name, text) in [
            (header::AUTHORIZATION, format!("Bearer {}", token.expose())),
            (header::COOKIE, format!("access_token={}", token.expose())),
        ] {
            let mut value = HeaderValue::try_from(text)
                .map_err(|_| fault(&"the token has characters that no HTTP header can carry"))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
    }
    Ok(request)
}

pub(crate) fn fault(error: &dyn std::fmt::Display) -> Fault {
    Fault { http_status: None, detail: error.to_string() }
}

/// A TCP stream that counts the bytes the operating system took, so that a write that stands still can be told from
/// one that is merely long.
#[derive(Debug)]
pub(crate) struct MeteredTcp {
    inner: TcpStream,
    written: Arc<AtomicU64>,
}

impl MeteredTcp {
    fn count(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &result {
            self.written.fetch_add(*bytes as u64, Ordering::Relaxed);
        }
        result
    }
}

impl AsyncRead for MeteredTcp {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for MeteredTcp {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.count(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.count(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_travels_in_both_headers_and_is_never_printed() {
        let request = upgrade_request("ws://a/wse?x=1", Some(&Secret::from("t0p"))).expect("a request");
        assert_eq!(request.headers()[header::AUTHORIZATION], "Bearer t0p");
        assert_eq!(request.headers()[header::COOKIE], "access_token=t0p");
        assert!(!format!("{request:?}").contains("t0p"));
    }

    #[test]
    fn a_token_that_no_header_can_carry_is_a_fault_without_the_token() {
        let fault = upgrade_request("ws://a", Some(&Secret::from("se\ncret"))).expect_err("a line break");
        assert!(fault.detail.contains("header") && !fault.detail.contains("cret"));
    }
}
