//! One tokio runtime per process, started by the first client.

use std::{
    process,
    sync::{Arc, Mutex, PoisonError},
};

use pyo3::prelude::*;
use tokio::runtime::{Builder, Runtime};
use wse_client_core::error::Code;

use crate::error;

/// Sockets and the engine are all that runs here.
const THREADS: usize = 2;

static RUNTIME: Mutex<Option<(u32, Arc<Runtime>)>> = Mutex::new(None);

/// The runtime of this process.
///
/// A forked child has none of its parent's threads. It gets a runtime of its own; the parent's is left where it is,
/// since stopping it would wait for threads that do not exist.
pub(crate) fn get(py: Python<'_>) -> PyResult<Arc<Runtime>> {
    let mut slot = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((owner, runtime)) = slot.as_ref()
        && *owner == process::id()
    {
        return Ok(Arc::clone(runtime));
    }
    let runtime = Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("wse-client")
        .enable_all()
        .build()
        .map_err(|cause| error::new(py, Code::ConnectFailed, &format!("cannot start threads: {cause}")))?;
    let runtime = Arc::new(runtime);
    if let Some(inherited) = slot.replace((process::id(), Arc::clone(&runtime))) {
        std::mem::forget(inherited);
    }
    Ok(runtime)
}
