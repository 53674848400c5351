//! Keys that wait for somebody to look at them: an event of theirs has failed for good.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::lanes::Key;
use crate::beyond;
use crate::core::Core;
use crate::error::{Error, Result};
use crate::files::PARKED_KEYS;
use crate::letters::short_key;

/// Most keys of one subscription that are parked at a time: more of them is no longer about single keys.
const KEYS_MAX: usize = 1000;
/// Most bytes of them: they are part of what each segment of the journal begins with.
const BYTES_MAX: usize = 16 << 10;
/// And at most this part of a segment.
const SHARE: u64 = 16;

/// The parked keys of a subscription. The newest state of them is a checkpoint in the process's journal.
#[derive(Debug)]
pub(super) struct Parked {
    /// As letters have them: see [`short_key`].
    keys: HashSet<Box<[u8]>>,
    checkpoint: String,
    bytes_max: usize,
}

impl Parked {
    /// # Errors
    /// [`Error::Decode`] for a checkpoint that makes no sense.
    pub(super) fn load(core: &Core, subscription: &str) -> Result<Self> {
        let share = usize::try_from(core.hearing.segment_bytes / SHARE).unwrap_or(usize::MAX);
        Ok(Self {
            keys: parked_keys(core, subscription)?,
            checkpoint: checkpoint_name(subscription),
            bytes_max: share.min(BYTES_MAX),
        })
    }

    #[inline]
    pub(super) fn contains(&self, key: &Key) -> bool {
        !self.keys.is_empty() && key.as_deref().is_some_and(|key| self.keys.contains(&*short_key(key)))
    }

    /// Whether a key is parked, given as letters have it.
    pub(super) fn has(&self, key: &[u8]) -> bool {
        self.keys.contains(key)
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether one more finds room.
    pub(super) fn has_room_for(&self, key: &[u8]) -> bool {
        let bytes = self.keys.iter().map(|key| encoded_bytes(key)).sum::<usize>() + encoded_bytes(key);
        self.keys.len() < KEYS_MAX && bytes <= self.bytes_max
    }

    /// Name and value of the checkpoint with this key among them; it counts from [`Self::add`] on.
    pub(super) fn with(&self, key: &[u8]) -> (&str, Vec<String>) {
        let keys = self.keys.iter().map(|key| STANDARD.encode(key)).chain([STANDARD.encode(key)]);
        (&self.checkpoint, keys.collect())
    }

    pub(super) fn add(&mut self, key: &[u8]) {
        self.keys.insert(key.into());
    }

    /// Name and value of the checkpoint without this key.
    pub(super) fn without(&self, key: &[u8]) -> (&str, Vec<String>) {
        let keys = self.keys.iter().filter(|other| ***other != *key).map(|key| STANDARD.encode(key));
        (&self.checkpoint, keys.collect())
    }

    pub(super) fn remove(&mut self, key: &[u8]) {
        self.keys.remove(key);
    }
}

/// The keys of a subscription that are parked.
///
/// # Errors
/// [`Error::Decode`] for a checkpoint that makes no sense.
pub(crate) fn parked_keys(core: &Core, subscription: &str) -> Result<HashSet<Box<[u8]>>> {
    let checkpoint = checkpoint_name(subscription);
    let Some(value) = core.outlet.checkpoint(&checkpoint) else { return Ok(HashSet::new()) };
    decode(&value).map_err(|reason| Error::Decode { what: format!("checkpoint {checkpoint:?}"), reason })
}

/// Where the parked keys of a subscription are kept.
pub(crate) fn checkpoint_name(subscription: &str) -> String {
    format!("{}{:016x}", PARKED_KEYS.prefix, beyond::hash(&[subscription]))
}

fn decode(value: &[u8]) -> Result<HashSet<Box<[u8]>>, String> {
    let keys: Vec<String> = serde_json::from_slice(value).map_err(|error| error.to_string())?;
    let decode = |key: &String| STANDARD.decode(key).map(Into::into).map_err(|error| error.to_string());
    keys.iter().map(decode).collect()
}

const fn encoded_bytes(key: &[u8]) -> usize {
    // Base64, quotes and a comma.
    key.len().div_ceil(3) * 4 + 3
}
