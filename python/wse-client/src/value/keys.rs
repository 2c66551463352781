//! Short strings that come again and again (keys of maps, types, topics) become one Python object each.

use std::sync::{Mutex, TryLockError};

use pyo3::{prelude::*, types::PyString};

/// Longer strings are rarely repeated, and a cache of them would hold memory for nothing.
const LONGEST: usize = 64;
/// A power of two; at most `SLOTS * LONGEST` bytes of text are kept.
const SLOTS: usize = 1024;

static CACHE: Mutex<[Option<Py<PyString>>; SLOTS]> = Mutex::new([const { None }; SLOTS]);

/// A Python string with this text, the same object as last time if its slot still holds it.
pub(crate) fn cached_str<'py>(py: Python<'py>, text: &str) -> Bound<'py, PyString> {
    if text.len() > LONGEST {
        return PyString::new(py, text);
    }
    let mut cache = match CACHE.try_lock() {
        Ok(cache) => cache,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => return PyString::new(py, text),
    };
    let slot = &mut cache[slot_of(text)];
    if let Some(kept) = slot
        && kept.to_str(py).is_ok_and(|kept| kept == text)
    {
        return kept.bind(py).clone();
    }
    let made = PyString::new(py, text);
    let old = slot.replace(made.clone().unbind());
    drop(cache);
    drop(old);
    made
}

/// FNV-1a: a few cycles per byte, and nothing here is worth an attack (a collision costs one allocation).
fn slot_of(text: &str) -> usize {
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    (hash ^ (hash >> 32)) as usize % SLOTS
}
