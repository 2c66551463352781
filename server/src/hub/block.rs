//! Publications in a row whose frames lie one behind the other: a reader that is behind takes many at once.
//!
//! Where a message is small, what it costs to take it by itself, to count its references and to tell the kernel where
//! it lies is more than what it costs to copy it. So the frames of a block are put together once for each form, when
//! the first reader comes for them, and every reader writes slices of that.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use wse_client_core::{io::Frame, server::Delivery, wire::Encoding};

use super::publication::Publication;

/// Publications of a block.
pub(super) const BLOCK: u64 = 64;

/// Larger blocks are not made: their messages are worth a piece each.
const MAX_BYTES: usize = 64 * 1024;

/// Encodings, each with compression and without.
const FORMS: usize = 6;

/// Which of them this is.
const fn form(delivery: Delivery) -> usize {
    let encoding = match delivery.encoding {
        Encoding::Text => 0,
        Encoding::Binary => 1,
        Encoding::Msgpack => 2,
    };
    2 * encoding + delivery.compression as usize
}

/// [`BLOCK`] publications, the first at a position that [`BLOCK`] divides.
#[derive(Debug)]
pub(super) struct Block {
    publications: Box<[Arc<Publication>]>,
    joined: [OnceLock<Joined>; FORMS],
}

#[derive(Debug)]
struct Joined {
    bytes: Bytes,
    frames: Box<[Place]>,
}

/// Where a frame lies.
#[derive(Debug, Clone, Copy)]
struct Place {
    start: u32,
    payload: u32,
    end: u32,
    is_text: bool,
}

/// Frames in a row, ready to be written to any number of sockets.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    block: Arc<Block>,
    delivery: Delivery,
    skip: usize,
}

impl Block {
    /// Takes whole blocks of small publications; `None` for others.
    pub(super) fn new<'a>(publications: impl ExactSizeIterator<Item = &'a Arc<Publication>>) -> Option<Self> {
        if publications.len() as u64 != BLOCK {
            return None;
        }
        let publications: Box<[Arc<Publication>]> = publications.cloned().collect();
        let bytes: usize = publications.iter().map(|publication| publication.cost()).sum();
        (bytes <= 3 * MAX_BYTES + publications.len() * Publication::FIXED_COST)
            .then(|| Self { publications, joined: Default::default() })
    }

    /// The frames from the one at `skip` on.
    pub(super) fn run(self: Arc<Self>, delivery: Delivery, skip: usize) -> Run {
        Run { block: self, delivery, skip }
    }

    fn joined(&self, delivery: Delivery) -> &Joined {
        self.joined[form(delivery)].get_or_init(|| {
            let mut bytes = Vec::new();
            let mut place = |publication: &Arc<Publication>| {
                let framed = publication.frame(delivery);
                let start = bytes.len();
                bytes.extend_from_slice(framed.bytes());
                let payload = bytes.len() - framed.payload().len();
                Place {
                    start: start as u32,
                    payload: payload as u32,
                    end: bytes.len() as u32,
                    is_text: framed.is_text(),
                }
            };
            let frames = self.publications.iter().map(&mut place).collect();
            Joined { bytes: bytes.into(), frames }
        })
    }
}

impl Run {
    /// How many frames there are.
    pub(crate) fn count(&self) -> usize {
        self.block.publications.len() - self.skip
    }

    /// What they were made of.
    pub(crate) fn publications(&self) -> &[Arc<Publication>] {
        self.block.publications.get(self.skip..).unwrap_or_default()
    }

    /// All of them, headers included.
    pub(crate) fn bytes(&self) -> Bytes {
        let joined = self.block.joined(self.delivery);
        joined.frames.get(self.skip).map_or_else(Bytes::new, |first| joined.bytes.slice(first.start as usize..))
    }

    /// Each without its header, for what makes its own.
    pub(crate) fn frames(&self) -> impl Iterator<Item = Frame> {
        let joined = self.block.joined(self.delivery);
        joined.frames.iter().skip(self.skip).map(|place| {
            let payload = joined.bytes.slice(place.payload as usize..place.end as usize);
            if place.is_text { Frame::Text(payload) } else { Frame::Binary(payload) }
        })
    }
}

#[cfg(test)]
mod tests {
    use wse_client_core::{client::Outgoing, wire::Payload};

    use super::*;

    const TEXT: Delivery = Delivery { encoding: Encoding::Text, compression: false, encrypted: false };

    fn block(payload: &str) -> Option<Arc<Block>> {
        let publication = |number: u64| {
            let message = Outgoing::new(format!("k{number}"), Payload::from_json(payload.to_owned()).expect("JSON"));
            Arc::new(Publication::new("t", message, String::new(), String::new(), None))
        };
        let publications: Vec<_> = (0..BLOCK).map(publication).collect();
        Block::new(publications.iter()).map(Arc::new)
    }

    #[test]
    fn a_run_says_what_its_publications_say() {
        let block = block("{}").expect("small");
        for skip in [0, 1, 63] {
            let run = Arc::clone(&block).run(TEXT, skip);
            let alone: Vec<&Publication> = block.publications[skip..].iter().map(|one| &**one).collect();
            let bytes: Vec<u8> = alone.iter().flat_map(|one| one.frame(TEXT).bytes().to_vec()).collect();
            assert_eq!((run.count(), &run.bytes()[..]), (alone.len(), &bytes[..]));
            let frames: Vec<Frame> = alone.iter().map(|one| one.frame(TEXT).frame()).collect();
            assert_eq!(run.frames().collect::<Vec<_>>(), frames);
        }
    }

    #[test]
    fn large_publications_stay_alone() {
        let large = format!("\"{}\"", "x".repeat(2000));
        assert!(block(&large).is_none());
    }
}
