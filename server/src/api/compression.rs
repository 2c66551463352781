//! `/wse/compression-test`: what compression and msgpack make of data. GET: of samples; POST: of what is sent.

use std::time::Instant;

use axum::{
    Json,
    extract::{Request, State},
};
use http::StatusCode;
use serde::Serialize;
use serde_json::json;
use wse_client_core::{
    error::Code,
    wire::{self, Compression, Encoding, Head, Payload, PayloadError},
};

use super::{ApiError, access::check_key, request};
use crate::server::Server;

#[derive(Serialize)]
pub(super) struct Report {
    /// Whether the server compresses for clients that take it.
    enabled: bool,
    /// Messages over this many bytes are compressed.
    threshold: usize,
    /// zlib level.
    level: u32,
    results: Vec<Measured>,
}

/// One message in every form.
#[derive(Serialize)]
struct Measured {
    name: &'static str,
    /// Of the whole frame as plain JSON.
    json_bytes: usize,
    /// Of the frame compressed; not smaller means that it would go out plain.
    zlib_bytes: usize,
    /// Of the frame as msgpack.
    msgpack_bytes: usize,
    /// `zlib_bytes` as part of `json_bytes`.
    zlib_ratio: f64,
    msgpack_ratio: f64,
    compress_micros: u64,
    inflate_micros: u64,
    /// Whether a client that takes compression would get it compressed.
    would_compress: bool,
}

pub(super) async fn samples(State(server): State<Server>) -> Result<Json<Report>, ApiError> {
    let quotes: Vec<_> = (0..100)
        .map(|n| json!({ "symbol": format!("SYM{n}"), "last": 100.0 + f64::from(n) * 0.25, "volume": n * 1000 }))
        .collect();
    let text = "The quick brown fox jumps over the lazy dog. ".repeat(100);
    let noise: String =
        (0..4096u32).map(|n| char::from(33 + (n.wrapping_mul(2_654_435_761) >> 20) as u8 % 90)).collect();
    let samples = [
        ("event", json!({ "symbol": "ABC", "last": 17.25, "volume": 1200 })),
        ("table", json!(quotes)),
        ("text", json!({ "text": text })),
        ("noise", json!({ "noise": noise })),
    ];
    let payloads = samples.map(|(name, value)| Payload::new(&value).map(|payload| (name, payload)));
    let failed = |_| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, Code::ServerError, "the samples are unusable");
    let payloads = payloads.into_iter().collect::<Result<Vec<_>, PayloadError>>().map_err(failed)?;
    measure_all(server, payloads).await
}

pub(super) async fn posted(State(server): State<Server>, request: Request) -> Result<Json<Report>, ApiError> {
    check_key(&server, request.headers(), Code::AuthRequired)?;
    let body = request::body(&server, request).await?;
    let payload = Payload::from_json(body).map_err(|error| {
        ApiError::new(StatusCode::BAD_REQUEST, Code::InvalidJson, format!("the body must be one JSON value: {error}"))
    })?;
    measure_all(server, vec![("posted", payload)]).await
}

/// Compressing takes its time, so it is not done where connections are served.
async fn measure_all(server: Server, payloads: Vec<(&'static str, Payload)>) -> Result<Json<Report>, ApiError> {
    let configured = server.config().compression;
    let compression = configured.unwrap_or_default();
    let limit = server.limits().max_inflated + 1024;
    let work = move || payloads.iter().map(|(name, payload)| measure(name, payload, compression, limit)).collect();
    let failed = |_| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, Code::ServerError, "the test failed");
    let mut results: Vec<Measured> = tokio::task::spawn_blocking(work).await.map_err(failed)?;
    for result in &mut results {
        result.would_compress &= configured.is_some();
    }
    let Compression { threshold, level } = compression;
    Ok(Json(Report { enabled: configured.is_some(), threshold, level, results }))
}

fn measure(name: &'static str, payload: &Payload, compression: Compression, limit: usize) -> Measured {
    let head = Head { kind: "sample", ..Head::default() };
    let plain = wire::encode(&head, payload, Encoding::Binary, None);
    let start = Instant::now();
    let compressed = wire::compress(plain.bytes(), compression.level);
    let compress_micros = micros(start);
    let start = Instant::now();
    let inflated = wire::inflate(&compressed, limit);
    let inflate_micros = micros(start);
    debug_assert!(inflated.is_ok_and(|inflated| inflated == **plain.bytes()), "what goes in comes out");
    let (json_bytes, zlib_bytes) = (plain.len(), compressed.len() + b"C:".len());
    let msgpack_bytes = wire::encode(&head, payload, Encoding::Msgpack, None).len();
    Measured {
        name,
        json_bytes,
        zlib_bytes,
        msgpack_bytes,
        zlib_ratio: zlib_bytes as f64 / json_bytes as f64,
        msgpack_ratio: msgpack_bytes as f64 / json_bytes as f64,
        compress_micros,
        inflate_micros,
        would_compress: json_bytes > compression.threshold && zlib_bytes < json_bytes,
    }
}

fn micros(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX)
}
