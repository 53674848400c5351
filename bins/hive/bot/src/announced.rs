//! Which posts have been announced, so that an edit isn't announced again.
//!
//! The chain says an edit with the same operation as a new post. What tells them apart is whether the author
//! and permlink were there before, and the truth about that is this process's own journal: it is read once,
//! at the start.

use std::borrow::Cow;
use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};

use contracts::hive::NewPost;
use procession::{Event as _, Item, Process, Result, Start};
use serde::Deserialize;

use crate::settings::Settings;

/// As many posts are remembered (about 30 MB); an edit of an older one would be announced again. Hive has
/// some thousand new posts a day.
const POSTS_MAX: usize = 1_000_000;

/// What an announcement says about which post it is.
#[derive(Deserialize)]
struct Post<'a> {
    #[serde(borrow)]
    author: Cow<'a, str>,
    #[serde(borrow)]
    permlink: Cow<'a, str>,
}

impl<'a> Post<'a> {
    fn read(payload: &'a [u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(payload)
    }
}

/// The latest posts, as 64-bit hashes: among a million, the odds that any new one is taken for another are
/// 1 in 30 million. They are keyed anew in each run, so that no author can aim at another's post.
pub(crate) struct Announced {
    hasher: RandomState,
    hashes: HashSet<u64>,
    oldest_first: VecDeque<u64>,
    posts_max: usize,
}

impl Announced {
    /// What this process has announced so far, as its journal says.
    pub(crate) fn recall(process: &Process<Settings>) -> Result<Self> {
        let mut announced = Announced::up_to(POSTS_MAX);
        let mut own = process.read_own(Start::Beginning)?;
        while let Some(item) = own.next()? {
            match item {
                Item::Record(record) if record.topic == NewPost::TOPIC => match Post::read(record.payload) {
                    Ok(post) => announced.add(&post.author, &post.permlink),
                    Err(error) => {
                        tracing::error!(offset = record.offset.0, %error, "what was announced can't be read")
                    }
                },
                Item::Record(_) => {}
                Item::Gap(gap) => {
                    let (from, to, reason) = (gap.from.0, gap.to.0, gap.reason);
                    tracing::warn!(from, to, %reason, "posts announced there may be announced again if they are edited");
                }
            }
        }
        Ok(announced)
    }

    fn up_to(posts_max: usize) -> Self {
        let (hashes, oldest_first) = (HashSet::new(), VecDeque::new());
        Announced { hasher: RandomState::new(), hashes, oldest_first, posts_max }
    }

    pub(crate) fn contains(&self, author: &str, permlink: &str) -> bool {
        self.hashes.contains(&self.hash(author, permlink))
    }

    pub(crate) fn add(&mut self, author: &str, permlink: &str) {
        let hash = self.hash(author, permlink);
        if !self.hashes.insert(hash) {
            return;
        }
        self.oldest_first.push_back(hash);
        if self.oldest_first.len() > self.posts_max {
            let oldest = self.oldest_first.pop_front().expect("one has just been added");
            self.hashes.remove(&oldest);
        }
    }

    fn hash(&self, author: &str, permlink: &str) -> u64 {
        self.hasher.hash_one((author, permlink))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_post_is_its_author_and_its_permlink() {
        let mut announced = Announced::up_to(POSTS_MAX);
        announced.add("ann", "hello");
        assert!(announced.contains("ann", "hello"));
        assert!(!announced.contains("bob", "hello"));
        assert!(!announced.contains("ann", "bye"));
        assert!(!announced.contains("annh", "ello"));
    }

    #[test]
    fn memory_is_bounded_and_the_latest_posts_are_kept() {
        let mut announced = Announced::up_to(10);
        for number in 0..100 {
            announced.add("ann", &number.to_string());
            announced.add("ann", &number.to_string());
        }
        assert_eq!((announced.hashes.len(), announced.oldest_first.len()), (10, 10));
        assert!(announced.contains("ann", "90") && !announced.contains("ann", "89"));
    }
}
