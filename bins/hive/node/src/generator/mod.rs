//! Makes plausible blocks without end. A block is a pure function of the seed, its number and its
//! time: no state is kept, so any block can be asked for at any moment, in any order, and after a
//! restart it is the same.
//!
//! Votes and replies need something to refer to. They name posts of earlier blocks by asking
//! [`Generator::posts`] again what those blocks held, which needs none of the rest of them.

mod names;
mod operations;
mod virtuals;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::block::{Transaction, Virtual};
use crate::draw::{self, Draw};
use crate::json::{self, Fields};
use crate::pace::chain_time;
use crate::recording::merkle_root;

/// What a stream of numbers is for.
#[derive(Clone, Copy)]
enum Purpose {
    Block = 1,
    Posts,
    Transaction,
    Virtual,
    Post,
}

/// Makes the blocks of one seed.
#[derive(Debug, Clone)]
pub(crate) struct Generator {
    seed: u64,
}

/// What a generated block holds, apart from its links.
pub(crate) struct Generated {
    pub(crate) header: Fields,
    pub(crate) transactions: Vec<Transaction>,
    pub(crate) virtuals: Vec<Virtual>,
}

/// One operation in appbase form; the name is without `_operation`.
#[derive(Debug, Clone)]
struct Operation {
    name: &'static str,
    value: Value,
}

/// A top-level post, as much of it as others refer to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Post {
    author: String,
    permlink: String,
    tag: &'static str,
}

/// Where in the chain something is being made.
struct Place<'a> {
    generator: &'a Generator,
    number: u32,
    at: Timestamp,
}

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// What follows the number in a block's id.
    pub(crate) fn tail(&self, number: u32) -> u128 {
        draw::tail(self.seed, number.into())
    }

    pub(crate) fn block(&self, number: u32, at: Timestamp) -> Generated {
        let place = Place { generator: self, number, at };
        let mut draw = self.draw(number, Purpose::Block, 0);
        let mut bodies: Vec<Vec<Operation>> = (0..2 + draw.below(9))
            .map(|index| operations::any(&place, &mut self.draw(number, Purpose::Transaction, index)))
            .collect();
        for (index, post) in self.posts(number).iter().enumerate() {
            let post = operations::post(post, &mut self.draw(number, Purpose::Post, index as u64));
            bodies.insert(draw.index(bodies.len() + 1), post);
        }
        let virtuals = virtuals::of_block(&place, &bodies);
        let transactions: Vec<Transaction> = (bodies.iter().enumerate())
            .map(|(index, operations)| place.transaction(operations, index, &mut draw))
            .collect();
        let header = self.header(number, at, transactions.is_empty(), &mut draw);
        Generated { header, transactions, virtuals }
    }

    fn header(&self, number: u32, at: Timestamp, empty: bool, draw: &mut Draw) -> Fields {
        Fields::from_iter([
            ("timestamp".to_owned(), json::raw(&chain_time(at))),
            ("witness".to_owned(), json::raw(names::witness(number))),
            ("transaction_merkle_root".to_owned(), json::raw(&merkle_root(self.tail(number), empty))),
            ("extensions".to_owned(), json::raw(&json!([]))),
            ("witness_signature".to_owned(), json::raw(&format!("20{}", draw.hex(128)))),
            ("signing_key".to_owned(), json::raw(&names::public_key(number.into()))),
        ])
    }

    fn draw(&self, number: u32, purpose: Purpose, index: u64) -> Draw {
        Draw::keyed(&[self.seed, number.into(), purpose as u64, index])
    }

    /// The top-level posts that a block holds: about two in three blocks.
    fn posts(&self, number: u32) -> Vec<Post> {
        let mut draw = self.draw(number, Purpose::Posts, 0);
        let count = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2][draw.index(10)];
        (0..count).map(|index| self.make_post(number, index, &mut draw)).collect()
    }

    fn make_post(&self, number: u32, index: u32, draw: &mut Draw) -> Post {
        let author = names::account(draw);
        let slug = names::slug(draw);
        let permlink = format!("{slug}-{}", names::base36(u64::from(number) * 4 + u64::from(index)));
        Post { author, permlink, tag: names::tag(draw) }
    }

    /// A post of one of the few hundred blocks before this one, if a short search finds one.
    fn earlier_post(&self, number: u32, draw: &mut Draw) -> Option<Post> {
        (0..8).find_map(|_| {
            let back = 1 + draw.below(400.min(u64::from(number).saturating_sub(1)));
            let earlier = number.checked_sub(u32::try_from(back).ok()?).filter(|n| *n > 0)?;
            let posts = self.posts(earlier);
            (!posts.is_empty()).then(|| posts[draw.index(posts.len())].clone())
        })
    }
}

impl Place<'_> {
    fn transaction(&self, operations: &[Operation], index: usize, draw: &mut Draw) -> Transaction {
        let expiration = self.at.checked_add(jiff::SignedDuration::from_secs(60)).unwrap_or(self.at);
        let operations: Vec<Value> = operations.iter().map(Operation::appbase).collect();
        let previous = self.generator.tail(self.number.saturating_sub(1)).to_be_bytes();
        let prefix = u32::from_le_bytes([previous[0], previous[1], previous[2], previous[3]]);
        let fields = Fields::from_iter([
            ("ref_block_num".to_owned(), json::raw(&(self.number.saturating_sub(1) & 0xffff))),
            ("ref_block_prefix".to_owned(), json::raw(&prefix)),
            ("expiration".to_owned(), json::raw(&chain_time(expiration))),
            ("operations".to_owned(), json::raw(&operations)),
            ("extensions".to_owned(), json::raw(&json!([]))),
            ("signatures".to_owned(), json::raw(&[format!("1f{}", draw.hex(128))])),
        ]);
        let keys = [self.generator.seed, self.number.into(), Purpose::Transaction as u64, index as u64, 0x1d];
        Transaction { id: Draw::keyed(&keys).hex(40), fields }
    }
}

impl Operation {
    fn new(name: &'static str, value: Value) -> Self {
        Self { name, value }
    }

    fn appbase(&self) -> Value {
        json!({"type": format!("{}_operation", self.name), "value": self.value})
    }

    /// A field of the operation that is a string.
    fn text(&self, key: &str) -> &str {
        self.value[key].as_str().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
