//! The messages: each carries its number, when it was published, and a content that follows from the number.
//! The same layout as in `procession bench`, so that every contender writes and checks the same bytes.

/// Number and time.
pub(crate) const HEAD_BYTES: usize = 16;

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Writes the message with a number into `bytes`.
#[inline]
pub(crate) fn write(bytes: &mut [u8], number: u64, said_ns: u64) {
    let (head, content) = bytes.split_at_mut(HEAD_BYTES);
    head[..8].copy_from_slice(&number.to_le_bytes());
    head[8..].copy_from_slice(&said_ns.to_le_bytes());
    let (words, rest) = content.as_chunks_mut::<8>();
    let mut word = first_word(number);
    for chunk in words {
        *chunk = word.to_le_bytes();
        word = word.wrapping_add(STEP);
    }
    rest.copy_from_slice(&word.to_le_bytes()[..rest.len()]);
}

/// A message as it came: its number and when it was published, if its content is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) number: u64,
    pub(crate) said_ns: u64,
}

/// Reads a message of exactly `bytes_expected` bytes and checks all of it.
#[inline]
pub(crate) fn check(bytes: &[u8], bytes_expected: usize) -> Option<Heard> {
    if bytes.len() != bytes_expected {
        return None;
    }
    let (head, content) = bytes.split_first_chunk::<HEAD_BYTES>()?;
    let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|index| head[at + index]));
    let number = word(0);
    is_content(content, number).then(|| Heard { number, said_ns: word(8) })
}

/// A different sequence for each number.
const fn first_word(number: u64) -> u64 {
    number.wrapping_mul(STEP) | 1
}

#[inline]
fn is_content(bytes: &[u8], number: u64) -> bool {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut word = first_word(number);
    let mut wrong = 0;
    for chunk in words {
        wrong |= u64::from_le_bytes(*chunk) ^ word;
        word = word.wrapping_add(STEP);
    }
    wrong == 0 && rest.iter().eq(&word.to_le_bytes()[..rest.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_known_by_its_number_and_any_changed_byte_shows() {
        for length in [16, 17, 64, 100, 1024] {
            let mut bytes = vec![0; length];
            write(&mut bytes, 12_345, 7);
            assert_eq!(check(&bytes, length), Some(Heard { number: 12_345, said_ns: 7 }));
            for at in HEAD_BYTES..length {
                bytes[at] ^= 1;
                assert_eq!(check(&bytes, length), None, "byte {at} of {length}");
                bytes[at] ^= 1;
            }
            assert_eq!(check(&bytes[..length - 1], length), None, "cut short");
        }
    }
}
