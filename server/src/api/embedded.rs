//! The same HTTP API for an application that serves HTTP itself.

use std::fmt;

use axum::{Router, body::Body};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use tower_service::Service as _;
use wse_client_core::error::Code;

use super::ApiError;
use crate::server::Server;

/// Most bytes of one answer. None of ours is longer.
const MAX_ANSWER: usize = 64 << 20;

/// Answers requests of the HTTP API (`/wse/health`, `/wse/publish` and what else `/wse/openapi.json` describes, `/console`) that an
/// application took; made by [`Server::http_api`]. Cheap to clone.
///
/// ```
/// use wse_server::{Config, Server};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::builder(Config { allow_open: true, ..Config::default() }).build()?;
/// let request = http::Request::get("/wse/health").body(Default::default())?;
/// let response = server.http_api().respond(request).await;
/// assert_eq!(response.status(), 200);
/// assert!(response.body().starts_with(br#"{"status":"ok""#));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct HttpApi {
    router: Router,
}

impl HttpApi {
    /// Answers a request. What the API does not know gets 404. [`Config::api_key`](crate::Config::api_key) is asked for as on a
    /// port of the server's own, and host names are looked at.
    pub async fn respond(&self, request: Request<Bytes>) -> Response<Bytes> {
        let Ok(response) = self.router.clone().call(request.map(Body::from)).await;
        let (head, body) = response.into_parts();
        match axum::body::to_bytes(body, MAX_ANSWER).await {
            Ok(body) => Response::from_parts(head, body),
            Err(error) => {
                tracing::error!(%error, "the answer could not be collected");
                let message = "the answer could not be collected";
                ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, Code::ServerError, message).response().map(Bytes::from)
            }
        }
    }
}

impl fmt::Debug for HttpApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpApi").finish_non_exhaustive()
    }
}

impl Server {
    /// The HTTP API without a port. With axum, `Server::router` of the feature `axum` is shorter.
    pub fn http_api(&self) -> HttpApi {
        HttpApi { router: super::routes(self) }
    }

    /// The WebSocket at `/wse`, the HTTP API under `/wse/` and the page `/console`, to be merged into an application's router.
    /// Needs the feature `axum`; the version of axum is part of this crate's interface then.
    ///
    /// Serve it with [`axum::extract::connect_info`], or no limit for one address holds. Requests need no more than the
    /// server asks for by itself, a token or the API key; a `/wse` that knows the users of the application is a route of your own that
    /// calls [`Server::upgrade`], beside [`Server::http_api`].
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), wse_server::StartError> {
    /// use wse_server::{Config, Server};
    ///
    /// let server = Server::builder(Config { allow_open: true, ..Config::default() }).build()?;
    /// let app = axum::Router::new()
    ///     .route("/", axum::routing::get(async || "an application"))
    ///     .merge(server.router());
    /// # drop::<axum::Router>(app);
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "axum")]
    pub fn router(&self) -> Router {
        super::layered(self, super::endpoints(self))
    }
}
