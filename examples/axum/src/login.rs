//! Who the users are. A key stands for a user; pages send it in a cookie, programs as `Authorization: Bearer`.

use std::collections::HashMap;

use axum::{
    Json,
    extract::{FromRequestParts, State},
    http::{HeaderMap, HeaderName, StatusCode, header, request::Parts},
    response::{AppendHeaders, IntoResponse},
};
use serde::Deserialize;

use crate::App;

/// The cookie that holds the key.
const COOKIE: &str = "session";

/// Everyone who may use the application, by their keys. A real one would have sessions that end, in a database.
#[derive(Debug, Default)]
pub struct Users {
    by_key: HashMap<String, String>,
}

/// The user of a request: an argument of this type makes a route one for users only.
#[derive(Debug, Clone)]
pub struct User {
    /// How others see the user.
    pub name: String,
}

/// What asks for a session.
#[derive(Debug, Deserialize)]
pub(crate) struct Login {
    key: String,
}

impl Users {
    /// Pairs of name and key.
    pub fn new(users: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { by_key: users.into_iter().map(|(name, key)| (key, name)).collect() }
    }

    fn of(&self, headers: &HeaderMap) -> Option<User> {
        let bearer = text(headers, header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        let cookies = text(headers, header::COOKIE).unwrap_or_default();
        let session =
            cookies.split(';').filter_map(|pair| pair.trim().split_once('=')).find(|(name, _)| *name == COOKIE);
        let key = bearer.or(session.map(|(_, key)| key))?;
        self.by_key.get(key).map(|name| User { name: name.clone() })
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

impl FromRequestParts<App> for User {
    type Rejection = (StatusCode, &'static str);

    async fn from_request_parts(head: &mut Parts, app: &App) -> Result<Self, Self::Rejection> {
        app.users.of(&head.headers).ok_or((StatusCode::UNAUTHORIZED, "log in first\n"))
    }
}

/// Puts the key where no script can read it, and from where no page of another site can send it: browsers let every page open a
/// WebSocket to anywhere.
pub(crate) async fn login(State(app): State<App>, Json(login): Json<Login>) -> impl IntoResponse {
    match app.users.by_key.get(&login.key) {
        Some(name) => {
            let cookie = format!("{COOKIE}={}; HttpOnly; SameSite=Strict; Path=/", login.key);
            (StatusCode::OK, AppendHeaders([(header::SET_COOKIE, cookie)]), name.clone()).into_response()
        }
        None => (StatusCode::UNAUTHORIZED, "this key is not known\n").into_response(),
    }
}
