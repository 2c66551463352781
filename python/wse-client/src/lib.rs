//! The extension module `wse_client._core`: the native client for a Python event loop.
//!
//! The rule that shapes it: no thread but Python's own ever runs Python code. See [`doorbell`].

mod client;
mod config;
mod doorbell;
mod error;
mod event;
mod inbox;
mod runtime;
mod value;

use pyo3::prelude::*;

/// The module; its docstring and signatures are in `_core.pyi`.
#[pymodule(gil_used = true)]
mod _core {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::{client::Core, doorbell::quiesce, event::WseEvent};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
