//! How a thread of the engine wakes an event loop without running Python code.
//!
//! A thread that is inside Python while the interpreter exits takes the process down with it. So the usual doorbell is
//! one byte on a socket that the loop watches. Loops that cannot watch a socket are called, and at exit [`quiesce`]
//! waits for such calls and lets no further ones in.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use pyo3::prelude::*;

/// Wakes one event loop.
#[derive(Default)]
pub(crate) struct Doorbell {
    /// Rung, and the loop has not come to the door yet: one byte is enough.
    rung: AtomicBool,
    way: Mutex<Way>,
}

#[derive(Default)]
enum Way {
    #[default]
    None,
    #[cfg(unix)]
    Socket(std::os::unix::net::UnixStream),
    /// `loop.call_soon_threadsafe` and what it is to call.
    Call(Arc<(Py<PyAny>, Py<PyAny>)>),
}

/// Threads of the engine that are on their way into Python.
static INSIDE: AtomicUsize = AtomicUsize::new(0);
static EXITING: AtomicBool = AtomicBool::new(false);

impl Doorbell {
    /// Makes the pair of sockets and gives the descriptor of the loop's end, which is the caller's from then on.
    #[cfg(unix)]
    pub(crate) fn by_socket(&self) -> std::io::Result<Option<i64>> {
        use std::os::{fd::IntoRawFd, unix::net::UnixStream};

        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        theirs.set_nonblocking(true)?;
        self.set(Way::Socket(ours));
        Ok(Some(i64::from(theirs.into_raw_fd())))
    }

    /// There are no pairs of sockets here.
    #[cfg(not(unix))]
    pub(crate) fn by_socket(&self) -> std::io::Result<Option<i64>> {
        Ok(None)
    }

    pub(crate) fn by_call(&self, soon: Py<PyAny>, callback: Py<PyAny>) {
        self.set(Way::Call(Arc::new((soon, callback))));
    }

    fn set(&self, way: Way) {
        let before = std::mem::replace(&mut *self.way(), way);
        drop(before);
        // What came before there was a door must not wait for the next visitor.
        if self.rung.load(Ordering::Acquire) {
            self.rung.store(false, Ordering::Release);
            self.ring();
        }
    }

    fn way(&self) -> MutexGuard<'_, Way> {
        self.way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the loop come soon. Called on any thread.
    pub(crate) fn ring(&self) {
        if self.rung.swap(true, Ordering::AcqRel) {
            return;
        }
        let target = match &*self.way() {
            Way::None => return,
            #[cfg(unix)]
            Way::Socket(socket) => {
                // A full buffer holds a byte already, and a closed one has nobody to wake.
                let _ = std::io::Write::write(&mut &*socket, &[1]);
                return;
            }
            Way::Call(target) => Arc::clone(target),
        };
        // Not under the lock: whoever holds the interpreter may be waiting for it.
        call(&target);
    }

    /// The loop is here, and will look at everything there is: ring again for what comes after.
    pub(crate) fn answered(&self) {
        self.rung.store(false, Ordering::Release);
    }
}

fn call((soon, callback): &(Py<PyAny>, Py<PyAny>)) {
    INSIDE.fetch_add(1, Ordering::SeqCst);
    if !EXITING.load(Ordering::SeqCst) {
        // It fails when the loop is closed, and then there is nobody to tell.
        Python::attach(|py| drop(soon.call1(py, (callback.clone_ref(py),))));
    }
    INSIDE.fetch_sub(1, Ordering::SeqCst);
}

/// Waits until no thread of the engine is inside Python, and lets none in from then on. For `atexit`.
#[pyfunction]
pub(crate) fn quiesce(py: Python<'_>) {
    EXITING.store(true, Ordering::SeqCst);
    py.detach(|| {
        while INSIDE.load(Ordering::SeqCst) > 0 {
            thread::sleep(Duration::from_millis(1));
        }
    });
}
