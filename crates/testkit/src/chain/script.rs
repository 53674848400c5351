//! What the processes of the chain say: all of it follows from the number of the record at the source, so whoever
//! checks the journals knows every byte beforehand.

use serde::{Deserialize, Serialize};

use super::crc::crc;

/// The processes, in the order in which records pass them; the two in the middle work side by side.
pub const INSTANCES: [&str; 4] = ["chain@source", "chain@left", "chain@right", "chain@sink"];

pub(super) const SOURCE: usize = 0;
pub(super) const SIDES: [usize; 2] = [1, 2];
pub(super) const SINK: usize = 3;

/// Under which topic each of them speaks.
pub const TOPICS: [&str; 4] = ["number", "output", "output", "result"];

/// Name of the subscription of both sides.
pub const INPUT: &str = "input";
/// Name of the sink's subscription.
pub const FAN_IN: &str = "fan-in";
/// Name of the source's checkpoint: the number that comes after a batch.
pub const CHECKPOINT: &str = "next";

/// One record's payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// The number of the record at the source that it goes back to.
    pub n: u64,
    /// Which of the outputs for one input.
    pub part: u8,
    /// The checksum of the input; 0 at the source.
    pub of: u32,
    /// Something to carry.
    pub text: String,
    /// Over all of that.
    pub sum: u32,
}

impl Said {
    fn new(by: usize, n: u64, part: u8, of: u32) -> Self {
        let text = text(mix(n ^ (by as u64) << 56 ^ u64::from(part) << 48 ^ u64::from(of) << 8));
        let mut said = Self { n, part, of, text, sum: 0 };
        said.sum = said.checksum();
        said
    }

    /// Whether it arrived as it was said.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.sum == self.checksum()
    }

    fn checksum(&self) -> u32 {
        let head = [&self.n.to_le_bytes()[..], &[self.part], &self.of.to_le_bytes()].concat();
        crc(crc(0, &head), self.text.as_bytes())
    }
}

/// How many records the source says at once from number `n` on. Several are one batch, with a checkpoint.
#[must_use]
pub fn step(n: u64) -> u64 {
    let mixed = mix(n ^ 0x5354_4550);
    if mixed.is_multiple_of(4) { 2 + mixed / 4 % 8 } else { 1 }
}

/// The key of number `n`, which everything that comes of it keeps.
#[must_use]
pub fn key(n: u64) -> Vec<u8> {
    format!("k{}", mix(n) % 16).into_bytes()
}

/// What the source says.
#[must_use]
pub fn number(n: u64) -> Said {
    Said::new(SOURCE, n, 0, 0)
}

/// What a side says about a number: the left one once, or twice now and then; the right one leaves some out.
///
/// # Panics
/// If `instance` is no side.
#[must_use]
pub fn outputs(instance: &str, input: &Said) -> Vec<Said> {
    let (by, parts) = match INSTANCES.iter().position(|name| *name == instance) {
        Some(1) => (1, if input.n.is_multiple_of(5) { 2 } else { 1 }),
        Some(2) => (2, u8::from(!input.n.is_multiple_of(7))),
        _ => panic!("{instance} is no side of the chain"),
    };
    (0..parts).map(|part| Said::new(by, input.n, part, input.sum)).collect()
}

/// What the sink says about an output of a side.
#[must_use]
pub fn result(input: &Said) -> Said {
    Said::new(SINK, input.n, input.part, input.sum)
}

/// Short mostly, so that there are many records; long now and then, so that segments end in odd places.
fn text(mut state: u64) -> String {
    let length = if state.is_multiple_of(97) { 3000 } else { state / 97 % 200 };
    (0..length)
        .map(|_| {
            state = mix(state);
            char::from(b'a' + state.to_le_bytes()[3] % 26)
        })
        .collect()
}

/// splitmix64.
fn mix(state: u64) -> u64 {
    let state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let state = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ state >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ state >> 31
}
