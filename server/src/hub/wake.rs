//! Waking one connection's task.

use std::{
    future::poll_fn,
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Poll},
};

use futures_util::task::AtomicWaker;

/// Wakes a task once however often it is called before the task looks. One waiting task at a time.
#[derive(Debug, Default)]
pub(crate) struct Wake {
    raised: AtomicBool,
    task: AtomicWaker,
}

impl Wake {
    /// Wakes the task, unless it has been woken already and has not looked since.
    pub(crate) fn wake(&self) {
        if !self.raised.swap(true, Ordering::AcqRel) {
            self.task.wake();
        }
    }

    /// Waits for a call of [`Wake::wake`] since the last wait.
    pub(crate) async fn wait(&self) {
        poll_fn(|cx| self.poll(cx)).await;
    }

    /// Ready once for calls of [`Wake::wake`] since it was ready before.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        if self.raised.swap(false, Ordering::AcqRel) {
            return Poll::Ready(());
        }
        self.task.register(cx.waker());
        // A wake between the first look and the registration would be lost without a second look.
        if self.raised.swap(false, Ordering::AcqRel) { Poll::Ready(()) } else { Poll::Pending }
    }
}
