//! The messages: each carries its number, when it was said, and a content that follows from the number.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use procession::{Codec, Event, Payload};
use serde::{Deserialize, Serialize};

/// The topic of all of them.
pub(super) const TOPIC: &str = "probe";
/// Number and time.
const HEAD_BYTES: usize = 16;

/// Nanoseconds of the machine's monotonic clock, which all processes share.
pub(super) fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let (seconds, nanoseconds) = (u64::try_from(now.tv_sec), u64::try_from(now.tv_nsec));
    seconds.unwrap_or_default() * 1_000_000_000 + nanoseconds.unwrap_or_default()
}

/// Nanoseconds of processor time that this process has used, all threads together.
pub(super) fn cpu_ns() -> u64 {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let (seconds, nanoseconds) = (u64::try_from(used.tv_sec), u64::try_from(used.tv_nsec));
    seconds.unwrap_or_default() * 1_000_000_000 + nanoseconds.unwrap_or_default()
}

/// Waits between two messages, blocking the loop on purpose: readers are woken all the same. The kernel cannot
/// sleep for less than about 60 us, so short pauses spin.
pub(super) fn pause(pause: Duration) {
    if pause >= Duration::from_micros(100) {
        return std::thread::sleep(pause);
    }
    let until = Instant::now() + pause;
    while Instant::now() < until {
        std::hint::spin_loop();
    }
}

/// Writes the message with a number into `bytes`.
#[inline]
pub(super) fn write(bytes: &mut [u8], number: u64, said_ns: u64) {
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes[8..HEAD_BYTES].copy_from_slice(&said_ns.to_le_bytes());
    let (words, rest) = bytes[HEAD_BYTES..].as_chunks_mut::<8>();
    let mut word = first_word(number);
    for chunk in words {
        *chunk = word.to_le_bytes();
        word = next_word(word);
    }
    rest.copy_from_slice(&word.to_le_bytes()[..rest.len()]);
}

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// What follows the head: a different sequence for each number.
const fn first_word(number: u64) -> u64 {
    number.wrapping_mul(STEP) | 1
}

const fn next_word(word: u64) -> u64 {
    word.wrapping_add(STEP)
}

/// Whether `bytes` is what follows the head of the message with a number.
#[inline]
fn is_content(bytes: &[u8], number: u64) -> bool {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut word = first_word(number);
    let mut wrong = 0;
    for chunk in words {
        wrong |= u64::from_le_bytes(*chunk) ^ word;
        word = next_word(word);
    }
    wrong == 0 && rest.iter().eq(&word.to_le_bytes()[..rest.len()])
}

/// A message as it was heard, checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heard {
    pub(super) number: u64,
    pub(super) said_ns: u64,
}

/// A message in raw bytes, checked where it lies.
#[derive(Debug)]
pub(super) struct RawProbe(pub(super) Heard);

impl Payload for RawProbe {
    const TOPIC: Option<&'static str> = Some(TOPIC);

    #[inline]
    fn take(_: Codec, bytes: &[u8]) -> Result<Self, String> {
        let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>().ok_or("too short")?;
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|index| head[at + index]));
        let number = word(0);
        if is_content(rest, number) {
            Ok(Self(Heard { number, said_ns: word(8) }))
        } else {
            Err("content is wrong".to_owned())
        }
    }
}

/// The fields of an encoded message; its text stands for the rest of the payload.
#[derive(Debug, Serialize, Deserialize)]
struct Fields {
    number: u64,
    said_ns: u64,
    text: Cow<'static, str>,
}

/// The text that belongs to a number.
#[derive(Debug)]
pub(super) struct Text {
    letters: String,
}

impl Text {
    /// For payloads of so many bytes.
    pub(super) fn new(payload_bytes: usize) -> Self {
        let bytes = payload_bytes.saturating_sub(HEAD_BYTES);
        Self {
            letters: (0..bytes + 26)
                .map(|index| char::from(b'a' + u8::try_from(index % 26).unwrap_or(0)))
                .collect(),
        }
    }

    fn of(&self, number: u64) -> &str {
        let start = usize::try_from(number % 26).unwrap_or(0);
        &self.letters[start..self.letters.len() - 26 + start]
    }
}

macro_rules! encoded {
    ($name:ident, $codec:expr) => {
        /// A message encoded by serde.
        #[derive(Debug, Serialize, Deserialize)]
        #[serde(transparent)]
        pub(super) struct $name(Fields);

        impl Event for $name {
            const TOPIC: &'static str = TOPIC;
            const CODEC: Codec = $codec;
        }

        impl $name {
            pub(super) fn new(number: u64, said_ns: u64, text: &'static Text) -> Self {
                Self(Fields { number, said_ns, text: Cow::Borrowed(text.of(number)) })
            }

            pub(super) fn check(&self, text: &Text) -> Option<Heard> {
                (self.0.text == text.of(self.0.number))
                    .then_some(Heard { number: self.0.number, said_ns: self.0.said_ns })
            }
        }
    };
}

encoded!(BincodeProbe, Codec::Bincode);
encoded!(JsonProbe, Codec::Json);
