//! The bytes of one record; see FORMAT.md.

use std::ops::Range;

use crate::types::{Codec, Epoch, KEY_BYTES_MAX, OFFSET_MAX, Offset, PAYLOAD_BYTES_MAX, Time};

/// Bytes before key and payload.
pub(crate) const HEADER_BYTES: usize = 48;
/// Records start at multiples of this.
pub(crate) const ALIGN: usize = 8;

const FLAG_KEY: u8 = 1;
const FLAG_MORE: u8 = 2;

/// What a record is for. Everything but `Event` is a control record without an offset of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Something the application said.
    Event,
    /// Binds a topic name to a number within the segment.
    Topic,
    /// Binds a journal name (of causes) to a number within the segment.
    Journal,
    /// A subscription's position, acknowledged with what was said because of it.
    Ack,
    /// Application state, stored with what was said because of it.
    Checkpoint,
    /// A writer took the journal over.
    EpochBegun,
    /// The segment ends; the payload is the first offset of the next one.
    Sealed,
}

impl Kind {
    const ALL: [Self; 7] = [
        Self::Event,
        Self::Topic,
        Self::Journal,
        Self::Ack,
        Self::Checkpoint,
        Self::EpochBegun,
        Self::Sealed,
    ];

    const fn to_byte(self) -> u8 {
        self as u8
    }

    fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte)).copied()
    }
}

/// The fixed part of a record, decoded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    pub(crate) offset: Offset,
    pub(crate) time: Time,
    pub(crate) epoch: Epoch,
    pub(crate) kind: Kind,
    /// Number of the topic in the segment's table; 0 for control records.
    pub(crate) topic: u16,
    /// Number of the cause's journal in the segment's table; 0 for no cause.
    pub(crate) cause_journal: u16,
    pub(crate) cause_offset: Offset,
    pub(crate) codec: Codec,
    /// More records of the same batch follow.
    pub(crate) more: bool,
}

/// A record whose checksum holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Decoded<'a> {
    pub(crate) head: Head,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) payload: &'a [u8],
    pub(crate) checksum: u32,
    /// Bytes to the next record.
    pub(crate) stride: usize,
}

/// Bytes that a record takes in its segment, padding included.
pub(crate) const fn stride(key: usize, payload: usize) -> usize {
    (HEADER_BYTES + key + payload).next_multiple_of(ALIGN)
}

/// Where a record lies: its checksum holds nowhere else.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// Derived from journal identity and segment: [`crate::segment::Header::seed`].
    pub(crate) seed: u32,
    /// Byte position in the segment.
    pub(crate) at: usize,
}

impl Place {
    /// The checksum's initial value. For a given segment, place and length give different values, and the CRC is
    /// injective in its initial value: a record that lies elsewhere, or is cut off, does not hold.
    #[inline]
    fn start(self, length: u32) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "segments are far below 4 GiB")]
        let at = self.at as u32;
        self.seed ^ at ^ length.rotate_left(16)
    }
}

/// Everything after the commit word, and the commit word that makes it visible.
pub(crate) struct Encoded {
    pub(crate) fixed: [u8; HEADER_BYTES - 8],
    pub(crate) word: u64,
}

/// Encodes a record that will lie at `place`.
///
/// Key and payload must be within the limits of the format.
#[inline]
pub(crate) fn encode(head: &Head, key: Option<&[u8]>, payload: &[u8], place: Place) -> Encoded {
    let key_bytes = key.map_or(0, <[u8]>::len);
    debug_assert!(key_bytes <= KEY_BYTES_MAX && payload.len() <= PAYLOAD_BYTES_MAX);
    let mut fixed = [0u8; HEADER_BYTES - 8];
    fixed[0..8].copy_from_slice(&head.offset.0.to_le_bytes());
    fixed[8..16].copy_from_slice(&head.time.0.to_le_bytes());
    fixed[16..24].copy_from_slice(&head.cause_offset.0.to_le_bytes());
    fixed[24..28].copy_from_slice(&head.epoch.0.to_le_bytes());
    fixed[28..30].copy_from_slice(&head.topic.to_le_bytes());
    fixed[30..32].copy_from_slice(&head.cause_journal.to_le_bytes());
    #[expect(clippy::cast_possible_truncation, reason = "at most KEY_BYTES_MAX")]
    fixed[32..34].copy_from_slice(&(key_bytes as u16).to_le_bytes());
    fixed[34] = head.kind.to_byte();
    fixed[35] = if key.is_some() { FLAG_KEY } else { 0 } | if head.more { FLAG_MORE } else { 0 };
    fixed[36] = head.codec.to_byte();

    #[expect(clippy::cast_possible_truncation, reason = "at most header + KEY_BYTES_MAX + PAYLOAD_BYTES_MAX")]
    let length = (HEADER_BYTES + key_bytes + payload.len()) as u32;
    let mut crc = crc32c::crc32c_append(place.start(length), &fixed);
    if let Some(key) = key {
        crc = crc32c::crc32c_append(crc, key);
    }
    crc = crc32c::crc32c_append(crc, payload);
    Encoded { fixed, word: u64::from(length) | u64::from(crc) << 32 }
}

/// The commit word that makes whatever lies at `place` hold, if its length is possible there.
#[cfg(feature = "fuzzing")]
pub(crate) fn sign(bytes: &[u8], length: u32, place: Place) -> Option<u64> {
    let end = place.at.checked_add(length as usize)?;
    let body = bytes.get(place.at + 8..end)?;
    let crc = crc32c::crc32c_append(place.start(length), body);
    Some(u64::from(length) | u64::from(crc) << 32)
}

/// Decodes the record at `place` whose commit word is `word` (not zero). `get` gives bytes of the segment.
///
/// # Errors
/// A reason, if no writer wrote these bytes at this place.
#[inline]
pub(crate) fn decode<'a>(
    get: impl FnOnce(Range<usize>) -> Option<&'a [u8]>,
    word: u64,
    place: Place,
) -> Result<Decoded<'a>, &'static str> {
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of the word")]
    let (length, checksum) = (word as u32, (word >> 32) as u32);
    let end = place.at.checked_add(length as usize).ok_or("length beyond the segment")?;
    if (length as usize) < HEADER_BYTES {
        return Err("length below a header");
    }
    let body = get(place.at + 8..end).ok_or("length beyond the segment")?;
    if crc32c::crc32c_append(place.start(length), body) != checksum {
        return Err("checksum does not match");
    }
    let (fixed, rest) = body.split_first_chunk::<{ HEADER_BYTES - 8 }>().ok_or("length below a header")?;
    let key_bytes = usize::from(u16::from_le_bytes(array(fixed, 32)));
    if key_bytes > rest.len() {
        return Err("key beyond the record");
    }
    let (key, payload) = rest.split_at(key_bytes);
    let offset = u64::from_le_bytes(array(fixed, 0));
    if offset > OFFSET_MAX {
        return Err("offset beyond the last possible one");
    }
    let head = Head {
        offset: Offset(offset),
        time: Time(u64::from_le_bytes(array(fixed, 8))),
        cause_offset: Offset(u64::from_le_bytes(array(fixed, 16))),
        epoch: Epoch(u32::from_le_bytes(array(fixed, 24))),
        topic: u16::from_le_bytes(array(fixed, 28)),
        cause_journal: u16::from_le_bytes(array(fixed, 30)),
        kind: Kind::from_byte(fixed[34]).ok_or("unknown kind")?,
        codec: Codec::from_byte(fixed[36]).ok_or("unknown codec")?,
        more: fixed[35] & FLAG_MORE != 0,
    };
    let key = (fixed[35] & FLAG_KEY != 0).then_some(key);
    let stride = (length as usize).next_multiple_of(ALIGN);
    Ok(Decoded { head, key, payload, checksum, stride })
}

#[inline]
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        Head {
            offset: Offset(7),
            time: Time(11),
            epoch: Epoch(3),
            kind: Kind::Event,
            topic: 1,
            cause_journal: 2,
            cause_offset: Offset(5),
            codec: Codec::Json,
            more: true,
        }
    }

    fn image(place: Place) -> (Vec<u8>, u64) {
        let encoded = encode(&head(), Some(b"key"), b"payload", place);
        let mut bytes = vec![0; place.at];
        bytes.extend(encoded.word.to_le_bytes());
        bytes.extend(encoded.fixed);
        bytes.extend(b"keypayload");
        (bytes, encoded.word)
    }

    #[test]
    fn what_was_encoded_is_decoded() {
        let place = Place { seed: 9, at: 16 };
        let (bytes, word) = image(place);
        let decoded = decode(|range| bytes.get(range), word, place).unwrap();
        assert_eq!(decoded.key, Some(&b"key"[..]));
        assert_eq!(decoded.payload, b"payload");
        assert_eq!(decoded.head.offset, Offset(7));
        assert_eq!(decoded.head.cause_offset, Offset(5));
        assert!(decoded.head.more);
        assert_eq!(decoded.stride, stride(3, 7));
    }

    #[test]
    fn a_record_holds_at_its_own_place_only() {
        let place = Place { seed: 9, at: 16 };
        let (mut bytes, word) = image(place);
        assert!(decode(|range| bytes.get(range), word, Place { seed: 8, at: 16 }).is_err());
        bytes.splice(0..0, [0; 8]);
        assert!(decode(|range| bytes.get(range), word, Place { seed: 9, at: 24 }).is_err());
    }
}
