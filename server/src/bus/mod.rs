//! How publications travel between instances of the server. With one instance, they do not.

mod memory;

use std::{fmt::Debug, sync::Arc};

use wse_client_core::{error::Code, time::Moment};

pub(crate) use memory::MemoryBus;

use crate::hub::Publication;

/// Carries publications to the hub of every instance.
pub(crate) trait Bus: Debug + Send + Sync + 'static {
    /// Hands a publication to every instance, this one included. Answers how many connections of this instance
    /// will get it. Never blocks: what has to wait, waits in a bounded queue of the bus.
    fn publish(&self, publication: Arc<Publication>, now: Moment) -> Result<usize, Code>;
}
