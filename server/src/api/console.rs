//! The page at `/console`: the server from inside, live. Its files are part of the program, and nothing is fetched from elsewhere.
//!
//! The page is the same for everyone and knows nothing. What it shows it asks `GET /wse/debug`, what it publishes goes to
//! `POST /wse/publish`, both with the API key; the topics that it follows come over a WebSocket, for which
//! `POST /console/token` gives it a token.

use std::time::Duration;

use axum::{
    Json, Router,
    extract::{Path, State},
    response::{Html, IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use wse_client_core::error::Code;

use super::{ApiError, access::check_key, method_not_allowed};
use crate::{
    auth::{CONSOLE, ReaderToken},
    server::Server,
};

/// Name, content type and bytes of each file; none when the program was built without the page.
const FILES: &[(&str, &str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/console.rs"));

/// Scripts and styles come from files of this server alone; `'wasm-unsafe-eval'` lets the page compile the client's WebAssembly.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'; \
                      img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const NOT_BUILT: &str = include_str!("console-not-built.html");

const UNGUARDED: &str = include_str!("console-unguarded.html");

/// How long a token of the page is good. It is for one handshake; a page that connects again asks for another one.
const TOKEN_TTL: Duration = Duration::from_secs(300);

/// The routes of the page, if it is on.
pub(super) fn routes() -> Router<Server> {
    Router::new()
        .route("/console", get(page).fallback(method_not_allowed))
        .route("/console/token", post(token).fallback(method_not_allowed))
        .route("/console/{file}", get(asset).fallback(method_not_allowed))
}

impl Server {
    /// Whether `/console` shows the page: [`Config::console`](crate::Config::console) is true, something guards it, and the
    /// program was built with it.
    pub fn has_console(&self) -> bool {
        self.config().console && self.guards_console() && file("index.html").is_some()
    }

    /// Whether not everyone who reaches the server may see it from inside.
    fn guards_console(&self) -> bool {
        self.config().api_key.is_some() || (self.is_open() && self.is_on_loopback())
    }
}

async fn page(State(server): State<Server>) -> Response {
    let page = if server.guards_console() {
        file("index.html").unwrap_or_else(|| (StatusCode::NOT_FOUND, Html(NOT_BUILT)).into_response())
    } else {
        (StatusCode::NOT_FOUND, Html(UNGUARDED)).into_response()
    };
    guarded(page)
}

async fn asset(Path(name): Path<String>) -> Response {
    let missing = || ApiError::new(StatusCode::NOT_FOUND, Code::InvalidRequest, "no such file").into_response();
    guarded(file(&name).unwrap_or_else(missing))
}

/// `POST /console/token`: what the page needs to follow topics over the WebSocket.
async fn token(State(server): State<Server>, headers: HeaderMap) -> Result<Response, ApiError> {
    check_key(&server, &headers, Code::AuthRequired)?;
    let answer = match server.auth().reader_token(CONSOLE, TOKEN_TTL) {
        ReaderToken::NotNeeded => json!({ "required": false, "token": Value::Null, "expires_in": Value::Null }),
        ReaderToken::Token(token) => {
            json!({ "required": true, "token": token, "expires_in": TOKEN_TTL.as_secs() })
        }
        ReaderToken::NoKey => {
            let message = "this server checks tokens with public keys and cannot sign one: give it a jwt_secret, or an \
                           HS256 key in jwt_keys";
            return Err(ApiError::new(StatusCode::NOT_IMPLEMENTED, Code::InvalidConfig, message));
        }
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response())
}

fn file(name: &str) -> Option<Response> {
    let (_, kind, bytes) = FILES.iter().find(|(file, _, _)| *file == name)?;
    Some(([(header::CONTENT_TYPE, *kind)], *bytes).into_response())
}

/// What a browser is told about everything under `/console`.
fn guarded(mut response: Response) -> Response {
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        // The files keep their names from version to version.
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
