//! The few globals of the host that the driver needs.

use js_sys::Function;
use wasm_bindgen::prelude::*;
use wse_client_core::{
    rng::Seed,
    time::{Moment, WallTime},
};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    fn performance_now() -> f64;
    #[wasm_bindgen(catch, js_namespace = crypto, js_name = getRandomValues)]
    fn random_values(out: &mut [u8]) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(callback: &Function, ms: i32) -> JsValue;
    #[wasm_bindgen(js_name = clearTimeout)]
    fn clear_timeout(timer: &JsValue);
    #[wasm_bindgen(js_namespace = console, js_name = error)]
    fn console_error(text: &str);
}

/// The monotonic clock of the host.
pub(crate) fn now() -> Moment {
    Moment::from_millis(performance_now() as u64)
}

/// The civil clock of the host.
pub(crate) fn wall() -> WallTime {
    WallTime::from_unix_ms(js_sys::Date::now() as u64)
}

/// Randomness of the host; without it no key could be trusted, so its absence is an error.
pub(crate) fn seed() -> Result<Seed, JsValue> {
    let mut bytes = [0; 32];
    random_values(&mut bytes)?;
    Ok(Seed::from_bytes(bytes))
}

/// Writes a panic to the console once: without it a trap shows only "unreachable".
pub(crate) fn report_panics() {
    std::panic::set_hook(Box::new(|info| console_error(&format!("wse-client: {info}"))));
}

/// A pending `setTimeout`; dropping it cancels it.
pub(crate) struct Timer {
    handle: JsValue,
    deadline: Moment,
    _callback: Closure<dyn FnMut()>,
}

impl Timer {
    /// Longest delay a host accepts: more wraps around and fires at once.
    const MAX_MS: u64 = i32::MAX as u64;

    /// Calls `callback` once at `deadline`, or earlier when that is further than a host can wait.
    pub(crate) fn at(deadline: Moment, now: Moment, callback: impl FnOnce() + 'static) -> Self {
        // `now` is cut to whole milliseconds, so one more makes sure that the deadline has passed.
        let ms = deadline.as_millis().saturating_sub(now.as_millis()).saturating_add(1).min(Self::MAX_MS);
        let callback = Closure::once(callback);
        let handle = set_timeout(callback.as_ref().unchecked_ref(), ms as i32);
        Self { handle, deadline, _callback: callback }
    }

    /// The moment it was set for.
    pub(crate) const fn deadline(&self) -> Moment {
        self.deadline
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        clear_timeout(&self.handle);
    }
}
