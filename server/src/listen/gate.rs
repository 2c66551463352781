//! How many sockets there may be, in all and from one address.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Networks;
use crate::{config::Config, sync::lock};

/// What a semaphore can count.
const MAX_SOCKETS: usize = u32::MAX as usize >> 4;

/// One address gets this part of the handshakes.
const SHARE: usize = 4;

/// Who may open a socket, and who may come in.
pub(crate) struct Gate {
    proxies: Networks,
    /// All open sockets.
    sockets: Arc<Semaphore>,
    total: u32,
    pending: Arc<Tally>,
    connections: Arc<Tally>,
}

/// Counts in all and for each address, with a bound on either.
struct Tally {
    most: usize,
    most_of_one: usize,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A place; given back on drop.
pub(crate) struct Place {
    tally: Arc<Tally>,
    address: Option<IpAddr>,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoPlace {
    /// All are taken.
    Full,
    /// This address has all that it may have.
    Address,
}

/// A socket that was let through.
pub(super) struct Opened {
    /// Held as long as the socket is open.
    pub(super) socket: OwnedSemaphorePermit,
    /// Held until it has become a WebSocket.
    pub(super) pending: Place,
}

impl Tally {
    fn new(most: usize, most_of_one: usize) -> Arc<Self> {
        Arc::new(Self { most, most_of_one, counts: Mutex::default() })
    }

    fn take(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Place, NoPlace> {
        let mut counts = lock(&self.counts);
        if counts.all >= self.most {
            return Err(NoPlace::Full);
        }
        if let Some(address) = address {
            let of_one = counts.by_address.entry(address).or_default();
            if *of_one >= self.most_of_one {
                return Err(NoPlace::Address);
            }
            *of_one += 1;
        }
        counts.all += 1;
        Ok(Place { tally: Arc::clone(self), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = lock(&self.tally.counts);
        counts.all -= 1;
        let Some(address) = self.address else { return };
        if let Some(count) = counts.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                counts.by_address.remove(&address);
            }
        }
    }
}

impl Gate {
    pub(crate) fn new(config: &Config) -> Self {
        let total = config.max_connections.saturating_add(config.max_handshakes).min(MAX_SOCKETS);
        Self {
            // Checked with the other settings.
            proxies: Networks::parse(&config.trusted_proxies).unwrap_or_default(),
            sockets: Arc::new(Semaphore::new(total)),
            total: total as u32,
            pending: Tally::new(config.max_handshakes, config.max_handshakes.div_ceil(SHARE)),
            connections: Tally::new(config.max_connections, config.max_connections_per_address.unwrap_or(usize::MAX)),
        }
    }

    /// Lets a socket through, if there is room. Proxies and programs of this machine speak for many, so that no bound
    /// for one address holds for them.
    pub(super) fn open(&self, peer: SocketAddr) -> Result<Opened, NoPlace> {
        let ip = peer.ip().to_canonical();
        let address = (!ip.is_loopback() && !self.proxies.trust(ip)).then_some(ip);
        let pending = self.pending.take(address)?;
        let socket = Arc::clone(&self.sockets).try_acquire_owned().map_err(|_| NoPlace::Full)?;
        Ok(Opened { socket, pending })
    }

    /// A place for one more connection, if there is one.
    pub(crate) fn admit(&self, address: Option<IpAddr>) -> Result<Place, NoPlace> {
        self.connections.take(address)
    }

    /// The client's address, see [`Networks::client`].
    pub(crate) fn client(&self, socket: IpAddr, headers: &http::HeaderMap) -> IpAddr {
        self.proxies.client(socket, headers)
    }

    /// Number of connections that were let in.
    pub(crate) fn connections(&self) -> usize {
        lock(&self.connections.counts).all
    }

    /// Waits until no socket is open.
    pub(crate) async fn all_closed(&self) {
        // The semaphore is never closed, so this only ends with all permits.
        let _all = self.sockets.acquire_many(self.total).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> SocketAddr {
        SocketAddr::new(text.parse().expect("an address"), 1)
    }

    #[test]
    fn one_address_cannot_take_all_handshakes() {
        let gate = Gate::new(&Config { max_handshakes: 8, ..Config::default() });
        let one: Vec<_> = (0..2).map(|_| gate.open(peer("192.0.2.1")).expect("room")).collect();
        assert_eq!(gate.open(peer("192.0.2.1")).err(), Some(NoPlace::Address));
        assert_eq!(gate.open(peer("::ffff:192.0.2.1")).err(), Some(NoPlace::Address), "the same one");
        let local: Vec<_> = (0..6).map(|_| gate.open(peer("127.0.0.1")).expect("room")).collect();
        assert_eq!(gate.open(peer("192.0.2.2")).err(), Some(NoPlace::Full));
        drop(one);
        assert!(gate.open(peer("192.0.2.1")).is_ok());
        drop(local);
        assert!(lock(&gate.pending.counts).by_address.is_empty(), "nothing is remembered");
    }

    #[test]
    fn connections_are_counted_in_all_and_by_address() {
        let gate = Gate::new(&Config { max_connections: 3, max_connections_per_address: Some(2), ..Config::default() });
        let ip = |text: &str| Some(peer(text).ip());
        let first = gate.admit(ip("192.0.2.1")).expect("room");
        let _second = gate.admit(ip("192.0.2.1")).expect("room");
        assert_eq!(gate.admit(ip("192.0.2.1")).err(), Some(NoPlace::Address));
        let _third = gate.admit(None).expect("room");
        assert_eq!((gate.admit(ip("192.0.2.2")).err(), gate.connections()), (Some(NoPlace::Full), 3));
        drop(first);
        assert!(gate.admit(ip("192.0.2.1")).is_ok());
    }
}
