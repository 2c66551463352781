//! Who may use the HTTP API.

use http::{HeaderMap, StatusCode, header};
use wse_client_core::error::Code;

use super::ApiError;
use crate::{auth::ApiKeyCheck, server::Server};

/// Checks the key of a request, `Authorization: Bearer` or `X-API-Key`, in constant time. A server without a key lets in
/// whoever can reach it, if it is open and on loopback; otherwise `off` is the code for what is not offered at all.
pub(super) fn check_key(server: &Server, headers: &HeaderMap, off: Code) -> Result<(), ApiError> {
    let has_key = !matches!(server.auth().check_api_key(headers), ApiKeyCheck::NotConfigured);
    if !has_key && server.is_open() && server.is_on_loopback() {
        return check_page(headers);
    }
    require_key(server, headers, off)
}

/// The same where nobody does without a key.
pub(super) fn require_key(server: &Server, headers: &HeaderMap, off: Code) -> Result<(), ApiError> {
    match server.auth().check_api_key(headers) {
        ApiKeyCheck::Right => Ok(()),
        ApiKeyCheck::Missing => Err(ApiError::new(
            StatusCode::UNAUTHORIZED,
            Code::AuthRequired,
            "send the API key as Authorization: Bearer KEY or X-API-Key: KEY",
        )),
        ApiKeyCheck::Wrong => {
            server.counters().refused_api_keys.one();
            Err(ApiError::new(StatusCode::UNAUTHORIZED, Code::AuthFailed, "the API key is wrong"))
        }
        ApiKeyCheck::NotConfigured => Err(ApiError::new(
            StatusCode::FORBIDDEN,
            off,
            "this is off: start the server with --api-key KEY (WSE_API_KEY)",
        )),
    }
}

/// A page of another origin may not use a server that asks for no key: browsers name the page's origin
/// with every such request, other programs name none.
fn check_page(headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let own = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let page = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
    if page.is_some() && page == own {
        return Ok(());
    }
    let message = "pages of other origins may not do this: start the server with --api-key KEY, and send the key";
    Err(ApiError::new(StatusCode::FORBIDDEN, Code::OriginNotAllowed, message))
}
