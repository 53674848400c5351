//! Names of journals, subscriptions and checkpoints, and how a cursor's slot keeps two of them.

use crate::error::{Error, Result};
use crate::types::NAME_BYTES_MAX;

/// Bytes of the names of a subscription and a journal in a slot.
pub(crate) const NAMES_BYTES: usize = 2 * (NAME_BYTES_MAX + 1);

/// # Errors
/// [`Error::BadName`].
pub(crate) fn check_name(what: &'static str, name: &str) -> Result<()> {
    if is_valid(name) {
        return Ok(());
    }
    Err(Error::BadName { what, name: name.to_owned(), limit: NAME_BYTES_MAX })
}

/// Whether anything can have that name. What others have written is held against it as well: names go into lines of
/// files and of messages, where one with a line end would speak for somebody else.
pub(crate) fn is_valid(name: &str) -> bool {
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.chars().any(char::is_control)
}

/// Names that were checked, as a slot keeps them.
pub(crate) fn encode_names(subscription: &str, journal: &str) -> [u8; NAMES_BYTES] {
    let mut names = [0; NAMES_BYTES];
    let (fields, _) = names.as_chunks_mut::<{ NAME_BYTES_MAX + 1 }>();
    for (name, field) in [subscription, journal].into_iter().zip(fields) {
        field[0] = u8::try_from(name.len()).expect("names were checked");
        field[1..=name.len()].copy_from_slice(name.as_bytes());
    }
    names
}

/// Subscription and journal, if somebody can be called that. Bytes behind a name do not count.
pub(crate) fn decode_names(names: &[u8]) -> Option<(String, String)> {
    let name = |field: &[u8]| {
        let bytes = field.get(1..=usize::from(field[0]))?;
        String::from_utf8(bytes.to_vec()).ok().filter(|name| is_valid(name))
    };
    Some((name(&names[..NAME_BYTES_MAX + 1])?, name(&names[NAME_BYTES_MAX + 1..NAMES_BYTES])?))
}

/// The same in words.
pub(crate) fn words(names: &[u8; NAMES_BYTES]) -> impl Iterator<Item = u64> {
    names.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    })
}
