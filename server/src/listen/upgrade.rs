//! From an HTTP request to a WebSocket connection, whoever accepted the request.

use std::{fmt, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header, request};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::{rt::TokioIo, server::conn::auto};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
    time::timeout,
};
use wse_client_core::{
    error::Code,
    server::{Admission, Identity},
};

use super::{
    Place, SocketSlot,
    accepted::Accepted,
    gate::Opened,
    handshake::{self, Refusal},
};
use crate::{
    api::ApiError,
    connection::{self, Applicant, Stream},
    server::Server,
};

/// What an application that takes requests itself knows of the one who sent one.
///
/// ```
/// use wse_server::{Acl, Caller, Identity};
///
/// let address: std::net::SocketAddr = "192.0.2.1:4711".parse().expect("an address");
/// // Whoever it is has to show a token, as on a port of the server's own.
/// let stranger = Caller::from(address);
/// // The application has looked at its session cookie.
/// let alice = Identity { user_id: "alice".into(), subscribe: Acl::default(), publish: Acl::default() };
/// let known = Caller { identity: Some(alice), ..stranger };
/// # let _ = known;
/// ```
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// The other end of the socket. Without it no limit for one address holds. What proxies say of the address is
    /// looked at as [`Config::trusted_proxies`](crate::Config::trusted_proxies) says.
    pub address: Option<SocketAddr>,
    /// Who it is, where the application has found that out: no token is looked for then. Origins are checked all the
    /// same. Default `None`.
    pub identity: Option<Identity>,
}

impl From<SocketAddr> for Caller {
    fn from(address: SocketAddr) -> Self {
        Some(address).into()
    }
}

impl From<Option<SocketAddr>> for Caller {
    fn from(address: Option<SocketAddr>) -> Self {
        Self { address, identity: None }
    }
}

/// A WebSocket whose request was in order: the answer to it, and the connection that follows.
///
/// Made by [`Server::handshake`], for HTTP servers other than hyper; with hyper or axum, [`Server::upgrade`] does all of it.
/// Dropping it gives its places back.
///
/// ```
/// use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
/// use wse_server::{Caller, Server};
///
/// /// Takes over a socket whose request was read.
/// async fn take_over<T>(server: &Server, request: http::Request<()>, mut socket: T) -> std::io::Result<()>
/// where
///     T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
/// {
///     let (head, ()) = request.into_parts();
///     let (response, handshake) = match server.handshake(&head, Caller::default()) {
///         Ok(handshake) => (handshake.response(), Some(handshake)),
///         Err(refused) => (refused.response(), None),
///     };
///     let mut text = format!("HTTP/1.1 {}\r\n", response.status());
///     for (name, value) in response.headers() {
///         text += &format!("{name}: {}\r\n", value.to_str().unwrap_or_default());
///     }
///     text += &format!("\r\n{}", response.body());
///     socket.write_all(text.as_bytes()).await?;
///     if let Some(handshake) = handshake {
///         handshake.run(socket).await;
///     }
///     Ok(())
/// }
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let server = Server::builder(wse_server::Config { allow_open: true, ..Default::default() }).build()?;
/// # let request = http::Request::get("/wse").header("connection", "upgrade").header("upgrade", "websocket");
/// # let request = request.header("sec-websocket-version", "13").header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
/// # let (near, mut far) = tokio::io::duplex(1 << 16);
/// # let served = async move { take_over(&server, request.body(())?, near).await.map_err(Box::<dyn std::error::Error>::from) };
/// # let client = async move {
/// #     let mut said = Vec::new();
/// #     while !String::from_utf8_lossy(&said).contains("server_ready") {
/// #         tokio::io::AsyncReadExt::read_buf(&mut far, &mut said).await?;
/// #     }
/// #     assert!(said.starts_with(b"HTTP/1.1 101"));
/// #     Ok(())
/// # };
/// # tokio::try_join!(served, client)?;
/// # Ok(())
/// # }
/// ```
#[must_use = "the client waits for the response, and then for the connection to run"]
pub struct Handshake {
    server: Server,
    applicant: Applicant,
    accept: HeaderValue,
    /// Held to the end of the connection: the socket counts among the open ones.
    socket: Arc<OwnedSemaphorePermit>,
    /// Held until the connection runs; a listener of ours holds it itself.
    pending: Option<Place>,
}

/// Why a request does not become a WebSocket.
///
/// ```
/// # fn show(server: &wse_server::Server, head: &http::request::Parts) {
/// use wse_server::Caller;
///
/// if let Err(refused) = server.handshake(head, Caller::default()) {
///     println!("{}: {refused}", refused.status());
/// }
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct UpgradeRefused {
    status: StatusCode,
    code: Code,
    message: String,
}

impl UpgradeRefused {
    fn new(status: StatusCode, code: Code, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    /// The status to answer with: 426 when no WebSocket was asked for, 400 for a broken handshake, 421 for a foreign host
    /// name, 503 when there is no room for one more socket or the server is about to end.
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The stable code.
    pub const fn code(&self) -> Code {
        self.code
    }

    /// The whole answer, in the shape that all errors of the HTTP API have.
    pub fn response(&self) -> Response<String> {
        let mut response = ApiError::new(self.status, self.code, &*self.message).response();
        if self.status == StatusCode::UPGRADE_REQUIRED {
            ask_for_websocket(&mut response);
            response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        response
    }
}

impl From<Refusal> for UpgradeRefused {
    fn from(refusal: Refusal) -> Self {
        let (status, message) = match refusal {
            Refusal::NotAnUpgrade => (
                StatusCode::UPGRADE_REQUIRED,
                "this address speaks WebSocket: connect with a WebSocket client (ws://…); what there is for a browser is \
                 at /console, and under /wse/ as /wse/openapi.json says, where this server offers it",
            ),
            Refusal::Version => {
                (StatusCode::UPGRADE_REQUIRED, "only version 13 of the WebSocket protocol is spoken here")
            }
            Refusal::Malformed(why) => (StatusCode::BAD_REQUEST, why),
        };
        Self::new(status, Code::InvalidRequest, message)
    }
}

fn ask_for_websocket(response: &mut Response<String>) {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
}

impl Handshake {
    /// The answer to the request, status 101. Its body is empty.
    pub fn response(&self) -> Response<String> {
        let mut response = Response::new(String::new());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        ask_for_websocket(&mut response);
        response.headers_mut().insert(header::SEC_WEBSOCKET_ACCEPT, self.accept.clone());
        response
    }

    /// Why the client will be sent away at once, if it will: a token that is wrong or missing, an origin that is not
    /// allowed, no place. Browsers cannot read the answer to an upgrade, so that the client is told by the first message of the
    /// connection and its close code. An application that would rather answer with a status drops the handshake.
    pub const fn refusal(&self) -> Option<Code> {
        match &self.applicant.admission {
            Admission::Denied { code, .. } => Some(*code),
            Admission::Granted(_) => None,
        }
    }

    /// Runs the connection to its end over whatever carries its bytes, once [`Handshake::response`] is written.
    pub async fn run(self, io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
        self.run_on(Stream::foreign(io), Bytes::new()).await;
    }

    /// `leftover`: bytes that were read behind the request.
    async fn run_on(self, stream: Stream, leftover: Bytes) {
        let Self { server, applicant, accept: _, socket, pending } = self;
        drop(pending);
        connection::run(server, stream, leftover, applicant).await;
        drop(socket);
    }

    /// Waits until hyper has written the response, and runs the connection.
    async fn run_after(self, upgrading: OnUpgrade) {
        match timeout(self.server.config().handshake_timeout, upgrading).await {
            Ok(Ok(upgraded)) => {
                let (stream, leftover) = unwrap(upgraded);
                self.run_on(stream, leftover).await;
            }
            Ok(Err(error)) => tracing::debug!(%error, "client left during the handshake"),
            Err(error) => tracing::debug!(%error, "the upgrade took too long"),
        }
    }
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake").field("refusal", &self.refusal()).finish_non_exhaustive()
    }
}

/// The socket within, where it is one that we know; it is read without a detour then.
fn unwrap(upgraded: Upgraded) -> (Stream, Bytes) {
    let upgraded = match upgraded.downcast::<TokioIo<Accepted>>() {
        Ok(parts) => return (parts.io.into_inner().into_stream(), parts.read_buf),
        Err(upgraded) => upgraded,
    };
    let (tcp, leftover) = match auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded) {
        Ok(parts) => (parts.io.into_inner(), parts.read_buf),
        Err(upgraded) => match upgraded.downcast::<TokioIo<TcpStream>>() {
            Ok(parts) => (parts.io.into_inner(), parts.read_buf),
            Err(upgraded) => return (Stream::foreign(TokioIo::new(upgraded)), Bytes::new()),
        },
    };
    if let Err(error) = tcp.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    (Stream::Plain(tcp), leftover)
}

impl Server {
    /// Answers a request for a WebSocket that a hyper server accepted, axum's for example, and runs the connection in a task
    /// of its own. All that holds on a port of the server's own holds for it too: tokens and origins, host names, places in all
    /// and for each address, memory, drain and shutdown.
    ///
    /// The answer is 101, or what [`UpgradeRefused`] says. Needs the runtime that the HTTP server runs on.
    ///
    /// ```
    /// use std::net::SocketAddr;
    /// use axum::{Router, extract::{ConnectInfo, Request, State}, response::IntoResponse, routing::any};
    /// use wse_server::{Config, Server};
    ///
    /// async fn wse(State(server): State<Server>, ConnectInfo(peer): ConnectInfo<SocketAddr>, request: Request) -> impl IntoResponse {
    ///     server.upgrade(request, peer)
    /// }
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), wse_server::StartError> {
    /// let config = Config { jwt_secret: Some("at least thirty-two bytes of secret".into()), ..Config::default() };
    /// let server = Server::builder(config).build()?;
    /// let app = Router::new().route("/wse", any(wse)).with_state(server);
    /// # let _: Router = app;
    /// # Ok(())
    /// # }
    /// ```
    pub fn upgrade<B>(&self, request: Request<B>, caller: impl Into<Caller>) -> Response<String> {
        let (mut head, _) = request.into_parts();
        let handshake = match self.handshake(&head, caller) {
            Ok(handshake) => handshake,
            Err(refused) => return refused.response(),
        };
        start(handshake, &mut head)
    }

    /// Looks at the head of a request for a WebSocket, and takes a place for it.
    ///
    /// # Errors
    /// [`UpgradeRefused`]: the answer is not a WebSocket. A client that may not come in gets one nevertheless, see
    /// [`Handshake::refusal`].
    pub fn handshake(&self, head: &request::Parts, caller: impl Into<Caller>) -> Result<Handshake, UpgradeRefused> {
        let caller = caller.into();
        if !self.hosts().allow(&head.headers) {
            self.counters().refused_hosts.one();
            let message = "this server does not answer to that host name: see allowed_hosts";
            return Err(UpgradeRefused::new(StatusCode::MISDIRECTED_REQUEST, Code::Forbidden, message));
        }
        let accept = accept(head)?;
        if self.is_stopping() {
            let message = "the server is shutting down";
            return Err(UpgradeRefused::new(StatusCode::SERVICE_UNAVAILABLE, Code::ServerError, message));
        }
        let Opened { socket, pending } = self.gate().open(caller.address).map_err(|why| {
            self.counters().refused_sockets.one();
            tracing::debug!(?why, "too many open sockets, refusing one");
            let message = "too many connections, try again later";
            UpgradeRefused::new(StatusCode::SERVICE_UNAVAILABLE, Code::ServerFull, message)
        })?;
        let applicant = self.admit_caller(&head.headers, head.uri.query().unwrap_or_default(), caller);
        Ok(Handshake { server: self.clone(), applicant, accept, socket: Arc::new(socket), pending: Some(pending) })
    }

    /// The same for a request on a socket of our own listener, which has looked at host and bounds of sockets.
    pub(crate) fn upgrade_own(&self, mut head: request::Parts) -> Response<String> {
        let Some(SocketSlot { peer, permit }) = head.extensions.remove::<SocketSlot>() else {
            let address = address(&head);
            return self.upgrade(Request::from_parts(head, ()), address);
        };
        let accept = match accept(&head) {
            Ok(accept) => accept,
            Err(refused) => return refused.response(),
        };
        let applicant = self.admit_caller(&head.headers, head.uri.query().unwrap_or_default(), peer.into());
        let handshake = Handshake { server: self.clone(), applicant, accept, socket: permit, pending: None };
        start(handshake, &mut head)
    }
}

/// The other end of a request that another server accepted, where that server tells.
fn address(head: &request::Parts) -> Option<SocketAddr> {
    head.extensions.get::<axum::extract::ConnectInfo<SocketAddr>>().map(|info| info.0)
}

/// The value of `Sec-WebSocket-Accept`, if the request is in order.
fn accept(head: &request::Parts) -> Result<HeaderValue, UpgradeRefused> {
    let accept = handshake::check(&head.method, head.version, &head.headers)?;
    HeaderValue::try_from(accept)
        .map_err(|_| UpgradeRefused::new(StatusCode::BAD_REQUEST, Code::InvalidRequest, "unusable key"))
}

/// Answers, and runs the connection as soon as the answer is out.
fn start(handshake: Handshake, head: &mut request::Parts) -> Response<String> {
    let Some(upgrading) = head.extensions.remove::<OnUpgrade>() else {
        tracing::error!("the HTTP server gives no upgrade: hyper has to be told to serve with upgrades");
        let message = "this HTTP server cannot change to WebSocket";
        return UpgradeRefused::new(StatusCode::INTERNAL_SERVER_ERROR, Code::ServerError, message).response();
    };
    let response = handshake.response();
    tokio::spawn(handshake.run_after(upgrading));
    response
}
