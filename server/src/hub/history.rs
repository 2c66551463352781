//! The rings as history.

use std::future::ready;

use futures_util::{FutureExt, future::BoxFuture};
use wse_client_core::{delivery::Position, error::Code, time::Moment};

use super::Hub;
use crate::history::{History, MAX_HISTORY_PAGE, Stretch};

impl History for Hub {
    fn read<'a>(
        &'a self,
        topic: &'a str,
        after: Option<&'a Position>,
        limit: usize,
        now: Moment,
    ) -> BoxFuture<'a, Result<Option<Stretch>, Code>> {
        let stretch = self.known(topic).and_then(|topic| topic.stretch(after, limit.min(MAX_HISTORY_PAGE), Some(now)));
        ready(Ok(stretch)).boxed()
    }
}
