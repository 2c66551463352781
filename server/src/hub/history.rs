//! The rings as history.

use std::future::ready;

use futures_util::{FutureExt, future::BoxFuture};
use wse_client_core::{delivery::Position, error::Code};

use super::Hub;
use crate::{
    history::{History, MAX_HISTORY_PAGE, Stretch},
    sync::read,
};

impl History for Hub {
    fn read<'a>(
        &'a self,
        topic: &'a str,
        after: Option<&'a Position>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Option<Stretch>, Code>> {
        let topic = read(&self.registry).topics.get(topic).cloned();
        let stretch = topic.and_then(|topic| topic.stretch(after, limit.min(MAX_HISTORY_PAGE)));
        ready(Ok(stretch)).boxed()
    }
}
