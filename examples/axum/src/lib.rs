//! An application that is written with axum: a page, REST and live messages on one port, for the same users.
//!
//! ```text
//! GET  /                the page, for which src/page.html is all there is
//! POST /login           {"key": "…"}: puts the key into a cookie
//! POST /rooms/{room}    {"text": "…"}: tells everyone in the room
//! GET  /wse             the WebSocket; a user reads the topics room:*, and writes by sending messages of the type "say"
//! *    /wse/…           the HTTP API of the server: /wse/health, /wse/ready, /wse/metrics, …
//! ```

mod chat;
mod login;

use std::{net::SocketAddr, path::Path, sync::Arc};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{ConnectInfo, Path as InPath, Request, State},
    http::{StatusCode, request::Parts},
    response::{Html, IntoResponse, Response},
    routing::{any, get, post},
};
use serde::{Deserialize, Serialize};
use tower_http::services::ServeDir;
use wse_server::{Acl, Caller, HttpApi, Identity, PublishError, Server};

pub use chat::Chat;
pub use login::{User, Users};

/// What all requests share.
#[derive(Debug, Clone)]
pub struct App {
    /// The live messages. It has no port: requests reach it through the routes below.
    pub wse: Server,
    api: HttpApi,
    users: Arc<Users>,
}

impl App {
    /// Brings a server and its users together.
    pub fn new(wse: Server, users: Users) -> Self {
        Self { api: wse.http_api(), wse, users: Arc::new(users) }
    }

    /// All routes. `sdk` is the folder of the built npm package, which the page loads.
    pub fn router(self, sdk: &Path) -> Router {
        Router::new()
            .route("/", get(async || Html(include_str!("page.html"))))
            .route("/login", post(login::login))
            .route("/rooms/{room}", post(tell))
            .route("/wse", any(connect))
            .route("/wse/{*rest}", any(api))
            .nest_service("/sdk", ServeDir::new(sdk))
            .with_state(self)
    }
}

/// The WebSocket. Who is no user does not get here: [`User`] has answered with 401.
async fn connect(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    user: User,
    request: Request,
) -> impl IntoResponse {
    let rooms = Acl { allow: vec!["room:*".into()], deny: Vec::new() };
    let identity = Identity { user_id: user.name, subscribe: rooms, publish: Acl::nothing() };
    app.wse.upgrade(request, Caller { address: Some(peer), identity: Some(identity) })
}

/// The HTTP API, for load balancers, Prometheus, and programs that have the API key.
async fn api(State(app): State<App>, head: Parts, body: Bytes) -> Response {
    app.api.respond(Request::from_parts(head, body)).await.map(Into::into)
}

/// What is told to a room.
#[derive(Debug, Deserialize)]
struct Words {
    text: String,
}

/// What became of it.
#[derive(Debug, Serialize)]
struct Told {
    id: String,
    /// How many are in the room.
    delivered: usize,
}

async fn tell(
    State(app): State<App>,
    user: User,
    InPath(room): InPath<String>,
    Json(words): Json<Words>,
) -> Result<Json<Told>, Refused> {
    let published = chat::tell(&app.wse, &user.name, &room, &words.text)?;
    Ok(Json(Told { id: published.id, delivered: published.delivered }))
}

/// An answer that says why something was not published.
#[derive(Debug)]
struct Refused(PublishError);

impl From<PublishError> for Refused {
    fn from(error: PublishError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = match self.0 {
            PublishError::Invalid(_) => StatusCode::BAD_REQUEST,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, format!("{}: {}\n", self.0.code(), self.0)).into_response()
    }
}
