//! Errors as JavaScript sees them: an `Error` with `code` and `retryable`, made into a `WseError` by the wrapper.

use js_sys::{Error, Reflect};
use wasm_bindgen::JsValue;
use wse_client_core::{
    client::{SendError, SubscribeError},
    config::ConfigError,
    error::Code,
    security::RotateError,
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
    // Nothing else is ever wrong with text that is taken as it is; to name the others would bring in their parsers.
    let cause = match failure {
        PayloadError::Text(cause) => format!(": {cause}"),
        _ => String::new(),
    };
    error(Code::InvalidRequest, &format!("{failure}{cause}"))
}

pub(crate) fn from_rotate(failure: &RotateError) -> JsValue {
    error(failure.code(), &failure.to_string())
}

pub(crate) fn from_config(failure: &ConfigError) -> JsValue {
    error(failure.code(), &failure.to_string())
}
