//! A key's bytes, where the rest of the key is.

use std::ops::Deref;

/// What fits beside the length, in the space of what names memory elsewhere.
const SHORT: usize = 22;

/// Owns a key. A short one lies within: whoever compares it has no far memory to wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key(Bytes);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Bytes {
    Short { length: u8, bytes: [u8; SHORT] },
    Long(Box<[u8]>),
}

impl From<&[u8]> for Key {
    fn from(key: &[u8]) -> Self {
        let mut bytes = [0; SHORT];
        Self(match (u8::try_from(key.len()), bytes.get_mut(..key.len())) {
            (Ok(length), Some(room)) => {
                room.copy_from_slice(key);
                Bytes::Short { length, bytes }
            }
            _ => Bytes::Long(key.into()),
        })
    }
}

impl Deref for Key {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Bytes::Short { length, bytes } => &bytes[..usize::from(*length)],
            Bytes::Long(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_it_was_made_of_whatever_its_length() {
        assert_eq!(size_of::<Key>(), 24);
        for length in [0, 1, SHORT - 1, SHORT, SHORT + 1, 255, 256, 300] {
            let bytes: Vec<u8> = (0..length).map(|byte| u8::try_from(byte % 251).unwrap()).collect();
            assert_eq!(*Key::from(&*bytes), *bytes);
        }
    }
}
