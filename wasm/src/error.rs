//! Errors as JavaScript sees them: an `Error` with `code` and `retryable`, made into a `WseError` by the wrapper.

use js_sys::{Error, JsString, Reflect};
use wasm_bindgen::JsValue;
use wse_client_core::{
    client::{SendError, SubscribeError},
    config::ConfigError,
    error::Code,
    wire::PayloadError,
};

/// An error with a stable code.
pub(crate) fn error(code: Code, message: &str) -> JsValue {
    let error = JsValue::from(Error::new(message));
    // Setting a property of an object made here cannot fail.
    let _ = Reflect::set(&error, &"code".into(), &code.as_str().into());
    let _ = Reflect::set(&error, &"retryable".into(), &code.is_retryable().into());
    error
}

pub(crate) fn from_send(failure: &SendError) -> JsValue {
    error(failure.code(), &failure.to_string())
}

pub(crate) fn from_subscribe(failure: &SubscribeError) -> JsValue {
    error(failure.code(), &failure.to_string())
}

pub(crate) fn from_payload(failure: &PayloadError) -> JsValue {
    let cause = std::error::Error::source(failure).map(|cause| format!(": {cause}")).unwrap_or_default();
    error(Code::InvalidRequest, &format!("{failure}{cause}"))
}

/// A refused setting, under the name it has in TypeScript.
pub(crate) fn from_config(failure: &ConfigError) -> JsValue {
    error(failure.code(), &format!("{} {}", name_in_typescript(failure.setting), translate(&failure.problem)))
}

const NAMES: &[(&str, &str)] = &[
    ("reconnect.max_retries", "reconnection.maxRetries"),
    ("reconnect.initial_delay", "reconnection.initialDelay"),
    ("reconnect.max_delay", "reconnection.maxDelay"),
    ("reconnect.multiplier", "reconnection.backoffMultiplier"),
    ("offline.max_size", "offline.maxSize"),
    ("performance.batch.size", "performance.batchSize"),
    ("performance.batch.timeout", "performance.batchTimeout"),
];

fn name_in_typescript(setting: &str) -> &str {
    NAMES.iter().find(|(core, _)| *core == setting).map_or(setting, |(_, name)| name)
}

/// A problem may name other settings ("must not be shorter than …").
fn translate(problem: &str) -> String {
    NAMES.iter().fold(JsString::from(problem), |text, (core, name)| text.replace(core, name)).into()
}
