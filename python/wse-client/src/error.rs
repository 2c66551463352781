//! Errors of the engine as exceptions of `wse_client.errors`.

use pyo3::{prelude::*, sync::PyOnceLock};
use wse_client_core::error::Code;

/// What `wse_client.errors._error` takes: the code, the text, and whether a retry can help.
pub(crate) type Parts = (&'static str, String, bool);

pub(crate) fn parts(code: Code, text: impl Into<String>) -> Parts {
    (code.as_str(), text.into(), code.is_retryable())
}

/// The exception for a code.
pub(crate) fn new(py: Python<'_>, code: Code, text: &str) -> PyErr {
    static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    MAKE.import(py, "wse_client.errors", "_error")
        .and_then(|make| make.call1(parts(code, text)))
        .map_or_else(|failure| failure, PyErr::from_value)
}

/// The client was used where it cannot work.
pub(crate) fn usage(py: Python<'_>, text: &str) -> PyErr {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    CLASS
        .import(py, "wse_client.errors", "WSEUsageError")
        .and_then(|class| class.call1((text,)))
        .map_or_else(|failure| failure, PyErr::from_value)
}
