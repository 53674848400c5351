//! The records of a model that are to be published together.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use journal::{Codec, Offset};
use serde::Serialize;

use super::order::Derivation;
use super::records::{Final, Said};
use super::speak::Saying;
use super::time::EventTime;
use crate::core::Core;
use crate::error::{Error, Result};
use crate::event::{Any, Message};
use crate::files::FINAL_TIMES;
use crate::outlet::Batch;
use crate::subscribe::Delivery;

/// What is too large where several records are smaller.
const BATCH: &str = "batch";
const ENTRIES: &str = "number of entries in a batch";
/// What is too large of one record.
const KEY: &str = "key";
const PAYLOAD: &str = "payload";
/// What a record takes in a batch beside key and payload, at most: its header, names, and the acknowledgement.
pub(super) const RECORD_BYTES: usize = 1024;

/// Records that are to be published together.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pub(super) posts: Vec<Post>,
    bytes: Vec<u8>,
    /// The posts from this one on have waited for final; the last of them is `_final`.
    pub(super) released: Option<usize>,
    /// What that `_final` says.
    pub(super) settles: EventTime,
}

/// What is said of final with a part of what was released.
#[derive(Debug, Clone, Copy)]
pub(super) enum Frontier {
    /// Nothing, or what is among the records.
    Stays,
    /// Nothing before it changes any more.
    Reaches(EventTime),
    /// The same holds, and is said once all that has waited for it is said: whoever dies before does that first.
    Nears(EventTime),
}

#[derive(Debug)]
pub(super) struct Post {
    topic: &'static str,
    cause: Option<(Arc<str>, u64)>,
    key: Option<Range<usize>>,
    payload: Range<usize>,
    /// When the input happened that it follows from.
    pub(super) at: EventTime,
}

impl Post {
    /// Whether it is larger than that, about, on its own.
    fn exceeds(&self, what: &str, limit: usize) -> bool {
        let (key, payload) = (self.key.as_ref().map_or(0, ExactSizeIterator::len), self.payload.len());
        match what {
            BATCH => key + payload + RECORD_BYTES > limit,
            KEY => key > limit,
            PAYLOAD => payload > limit,
            _ => false,
        }
    }
}

impl Outbox {
    pub(super) fn clear(&mut self) {
        self.posts.clear();
        self.bytes.clear();
        self.released = None;
    }

    /// Whether what failed so finds room in several batches.
    pub(super) fn can_be_parted(&self, error: &Error) -> bool {
        match error {
            Error::Journal(journal::Error::TooLarge { what, limit, .. }) => {
                *what == ENTRIES
                    || *what == BATCH && !self.posts.iter().any(|post| post.exceeds(what, *limit))
            }
            _ => false,
        }
    }

    /// The records that cannot be said at all, if what they were to be said with has failed so.
    fn unsayable(&self, error: &Error) -> impl Iterator<Item = (usize, &Post)> {
        let limit = match error {
            Error::Journal(journal::Error::TooLarge { what, limit, .. }) => Some((*what, *limit)),
            _ => None,
        };
        let posts = self.posts.iter().enumerate();
        posts.filter(move |(_, post)| limit.is_some_and(|(what, limit)| post.exceeds(what, limit)))
    }

    /// The conclusions that cannot be said, by the first of the same input, and why.
    #[cold]
    pub(super) fn unsayable_conclusions(&self, error: &Error) -> HashMap<Derivation, String> {
        let conclusions = self.unsayable(error).filter_map(|(_, post)| {
            let said = Said::of(&self.bytes[post.payload.clone()]).ok()??;
            let reason = format!("{} follows from it, and cannot be said: {error}", post.topic);
            Some((said.id.nth(0), reason))
        });
        conclusions.collect()
    }

    /// Takes out what compensates for a conclusion and cannot be said: that is no fault of the input that ends the
    /// conclusion, whose retract stays. Whether there was any.
    #[cold]
    pub(super) fn drop_compensations(&mut self, error: &Error) -> bool {
        let compensates = |post: &Post| {
            let said = Said::of(&self.bytes[post.payload.clone()]).ok().flatten();
            said.filter(|said| said.compensates)
        };
        let dropped: BTreeSet<usize> = self
            .unsayable(error)
            .filter_map(|(place, post)| {
                let id = compensates(post)?.id;
                tracing::error!(%id, topic = post.topic, %error, "what compensates for a conclusion cannot be said: it is only retracted");
                Some(place)
            })
            .collect();
        self.released = self.released.map(|released| released - dropped.range(..released).count());
        let mut place = 0..;
        self.posts.retain(|_| place.next().is_none_or(|place| !dropped.contains(&place)));
        !dropped.is_empty()
    }

    /// Where a part of what was released ends that begins at `from` and has `most` posts, about; and what is final with
    /// it. All that has waited for one instant goes together.
    pub(super) fn releases(&self, from: usize, most: usize) -> (usize, EventTime) {
        let (posts, last) = (&self.posts, self.posts.len() - 1);
        let to = last.min(from + most.max(1));
        let at = posts[to].at;
        let begin = posts[..to].partition_point(|post| post.at < at).max(from);
        let end = to + posts[to..].partition_point(|post| post.at <= at);
        match if begin > from { begin } else { end } {
            to if to < last => (to, posts[to].at),
            _ => (posts.len(), self.settles),
        }
    }

    fn put(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    pub(super) fn add(&mut self, saying: &Saying<'_>) {
        let Saying { topic, key, cause: (journal, offset), payload, said, .. } = *saying;
        let (key, payload) = (Some(self.put(key)), self.put(payload));
        let at = said.since.unwrap_or(said.at);
        self.posts.push(Post { topic, cause: Some((Arc::clone(journal), offset)), key, payload, at });
    }

    /// Without a cause.
    pub(super) fn add_bytes(&mut self, topic: &'static str, key: Option<&[u8]>, payload: &[u8]) {
        let (key, payload) = (key.map(|key| self.put(key)), self.put(payload));
        self.posts.push(Post { topic, cause: None, key, payload, at: EventTime::MIN });
    }

    pub(super) fn add_json<T: Serialize>(
        &mut self,
        topic: &'static str,
        value: &T,
        cause: Option<(&Arc<str>, u64)>,
    ) -> Result<()> {
        let start = self.bytes.len();
        serde_json::to_writer(&mut self.bytes, value)
            .map_err(|error| Error::Encode { topic: topic.to_owned(), reason: error.to_string() })?;
        let cause = cause.map(|(journal, offset)| (Arc::clone(journal), offset));
        let payload = start..self.bytes.len();
        self.posts.push(Post { topic, cause, key: None, payload, at: EventTime::MIN });
        Ok(())
    }

    pub(super) fn publish(
        &self,
        posts: Range<usize>,
        core: &Core,
        acking: &[(usize, Delivery<Any>)],
        (model, frontier): (&str, Frontier),
    ) -> Result<()> {
        let mut batch = Batch::new(&core.outlet);
        for Post { topic, cause, key, payload, .. } in &self.posts[posts] {
            batch.add_message(Message {
                topic: Cow::Borrowed(topic),
                key: key.clone().map(|key| Cow::Borrowed(&self.bytes[key])),
                cause: cause.as_ref().map(|(journal, offset)| (Cow::Borrowed(&**journal), Offset(*offset))),
                codec: Codec::Json,
                payload: Cow::Borrowed(&self.bytes[payload.clone()]),
            })?;
        }
        match frontier {
            Frontier::Stays => {}
            Frontier::Reaches(at) => {
                batch.add(&Final { at })?;
            }
            Frontier::Nears(at) => {
                batch.checkpoint(&nears_name(model), &at)?;
            }
        }
        for (_, delivery) in acking {
            batch.ack(delivery);
        }
        batch.commit().map(drop)
    }
}

/// Up to where what a model says was about to become final when it said a part of that and died; what has waited for it is
/// to be said before anything is heard.
pub(super) fn nears(core: &Core, model: &str) -> Option<EventTime> {
    serde_json::from_slice(&core.outlet.checkpoint(&nears_name(model))?).ok()
}

fn nears_name(model: &str) -> String {
    format!("{}{model}", FINAL_TIMES.prefix)
}
