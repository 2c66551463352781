//! From an HTTP request to a WebSocket connection.

use axum::{
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use hyper_util::rt::TokioIo;
use wse_client_core::error::Code;

use super::{
    SocketSlot,
    accepted::Accepted,
    handshake::{self, Refusal},
};
use crate::{api::ApiError, connection, server::Server};

/// Answers the upgrade. Whether the client may come in is told in the WebSocket, where every client can read it.
pub(crate) async fn upgrade(State(server): State<Server>, mut request: Request) -> Response {
    let accept = match handshake::check(request.method(), request.version(), request.headers()) {
        Ok(accept) => accept,
        Err(refusal) => return refuse(refusal),
    };
    let Ok(accept) = HeaderValue::try_from(accept) else {
        return ApiError::new(StatusCode::BAD_REQUEST, Code::InvalidRequest, "unusable key").into_response();
    };
    let slot = request.extensions_mut().remove::<SocketSlot>();
    let peer = slot.as_ref().map(|slot| slot.peer);
    let applicant = server.admit(request.headers(), request.uri().query().unwrap_or_default(), peer);
    let upgrading = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        // Held to the end of the connection: the socket counts among the open ones.
        let _slot = slot;
        let upgraded = match upgrading.await {
            Ok(upgraded) => upgraded,
            Err(error) => return tracing::debug!(%error, "client left during the handshake"),
        };
        match upgraded.downcast::<TokioIo<Accepted>>() {
            Ok(parts) => {
                let (stream, leftover) = (parts.io.into_inner().into_stream(), parts.read_buf);
                connection::run(server, stream, leftover, applicant).await;
            }
            Err(_) => tracing::error!("upgraded connection is not a socket of ours"),
        }
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    response
}

fn refuse(refusal: Refusal) -> Response {
    let upgrade_required = |message: &str| {
        let error = ApiError::new(StatusCode::UPGRADE_REQUIRED, Code::InvalidRequest, message);
        let mut response = error.into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        response
    };
    match refusal {
        Refusal::NotAnUpgrade => upgrade_required(
            "this address speaks WebSocket: connect with a WebSocket client (ws://…/wse); \
             GET /wse/health and /console work in a browser",
        ),
        Refusal::Version => upgrade_required("only version 13 of the WebSocket protocol is spoken here"),
        Refusal::Malformed(why) => ApiError::new(StatusCode::BAD_REQUEST, Code::InvalidRequest, why).into_response(),
    }
}
