//! The bot's announcement of a post.

use std::borrow::Cow;

use procession::Event;
use serde::{Deserialize, Serialize};

use super::view::Comment;

/// A top-level post that wasn't there before. Topic `new-post`, key = the author.
///
/// `{"author":"ann","permlink":"my-post","title":"…","url":"https://peakd.com/@ann/my-post","block":…,
/// "trx_id":"…","timestamp":"…"}`. Said once per author and permlink: an edit isn't a new post.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewPost {
    /// Who wrote it.
    pub author: String,
    /// Its name, unique among its author's.
    pub permlink: String,
    /// Its title.
    pub title: String,
    /// Where to read it.
    pub url: String,
    /// The block that it came in.
    pub block: u32,
    /// The transaction that it came in.
    pub trx_id: String,
    /// The block's time, UTC, as the chain writes it.
    pub timestamp: String,
}

impl NewPost {
    /// The announcement of `comment`, to be read at `frontend` (without a slash at its end).
    pub fn of(comment: &Comment, frontend: &str) -> Self {
        let post = comment.value();
        NewPost {
            author: post.author.clone(),
            permlink: post.permlink.clone(),
            title: post.title.clone(),
            url: format!("{frontend}/@{}/{}", one_word(&post.author), one_word(&post.permlink)),
            block: comment.block,
            trx_id: comment.trx_id.clone(),
            timestamp: comment.timestamp.clone(),
        }
    }
}

/// Names come from strangers: what would break a line, or a terminal, is percent-encoded. The chain's own names
/// hold nothing of the kind.
fn one_word(name: &str) -> Cow<'_, str> {
    let is_odd = |char: char| char.is_whitespace() || char.is_control();
    if !name.contains(is_odd) {
        return Cow::Borrowed(name);
    }
    let mut word = String::new();
    for char in name.chars() {
        if is_odd(char) {
            let bytes = char.encode_utf8(&mut [0; 4]).as_bytes().to_vec();
            word.extend(bytes.iter().map(|byte| format!("%{byte:02X}")));
        } else {
            word.push(char);
        }
    }
    Cow::Owned(word)
}

impl Event for NewPost {
    const TOPIC: &'static str = "new-post";

    fn key(&self) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Borrowed(self.author.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_on_its_line() {
        assert_eq!(one_word("my-post_É"), "my-post_É");
        assert_eq!(one_word("a b\n\u{1b}[31m\u{2028}"), "a%20b%0A%1B[31m%E2%80%A8");
    }
}
