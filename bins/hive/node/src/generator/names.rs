//! Names, words and keys to fill operations with. Accounts are made of syllables: nobody is meant.

use crate::draw::Draw;

/// How many accounts there are; a few of them do most of the talking.
const ACCOUNTS: u64 = 3000;

const STARTS: [&str; 20] =
    ["b", "br", "ch", "d", "dr", "f", "g", "j", "k", "l", "m", "n", "p", "r", "s", "st", "t", "tr", "v", "z"];
const VOWELS: [&str; 7] = ["a", "e", "i", "o", "u", "ai", "ou"];
const ENDINGS: [&str; 12] = ["", "", "", "", "n", "r", "s", "x", ".art", "-dev", "42", "photo"];

const WORDS: [&str; 64] = [
    "a",
    "about",
    "after",
    "and",
    "bees",
    "best",
    "block",
    "bread",
    "build",
    "chain",
    "city",
    "cold",
    "community",
    "day",
    "daily",
    "design",
    "early",
    "evening",
    "finding",
    "first",
    "for",
    "from",
    "garden",
    "good",
    "green",
    "hive",
    "home",
    "how",
    "in",
    "journey",
    "last",
    "learning",
    "letter",
    "life",
    "light",
    "little",
    "long",
    "making",
    "market",
    "morning",
    "mountain",
    "music",
    "my",
    "new",
    "night",
    "notes",
    "of",
    "old",
    "on",
    "open",
    "painting",
    "report",
    "river",
    "small",
    "some",
    "street",
    "the",
    "thoughts",
    "to",
    "walk",
    "week",
    "what",
    "with",
    "year",
];

const TAGS: [&str; 12] = [
    "hive-100001",
    "art",
    "blog",
    "development",
    "food",
    "gaming",
    "life",
    "music",
    "nature",
    "photography",
    "travel",
    "writing",
];

const WITNESSES: [&str; 21] = [
    "alder",
    "birch",
    "cedar.one",
    "damson",
    "elder",
    "fir-tree",
    "ginkgo",
    "hazel",
    "ironwood",
    "juniper",
    "katsura",
    "larch",
    "maple",
    "nutmeg",
    "oak.node",
    "poplar",
    "quince",
    "rowan",
    "spruce",
    "tamarind",
    "willow",
];

const BASE58: &[u8] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// One of the accounts; the low numbers come up more often.
pub(super) fn account(draw: &mut Draw) -> String {
    let ceiling = 1 + draw.below(ACCOUNTS);
    named(draw.below(ceiling))
}

/// The account with this number.
fn named(number: u64) -> String {
    let mut draw = Draw::keyed(&[0xacc0, number]);
    let mut name = String::new();
    for _ in 0..2 + draw.below(2) {
        name.push_str(draw.pick(&STARTS));
        name.push_str(draw.pick(&VOWELS));
    }
    name.push_str(draw.pick(&ENDINGS));
    name.truncate(16);
    name
}

/// The witness whose turn it is.
pub(super) fn witness(number: u32) -> &'static str {
    let (round, place) = (u64::from(number) / 21, number as usize % 21);
    let offset = Draw::keyed(&[0x3172, round]).index(21);
    WITNESSES[(place + offset) % 21]
}

pub(super) fn tag(draw: &mut Draw) -> &'static str {
    TAGS[draw.index(TAGS.len())]
}

/// `early-morning-walk`
pub(super) fn slug(draw: &mut Draw) -> String {
    words(draw, 3, 6).replace(' ', "-")
}

/// Between `least` and `most` words.
pub(super) fn words(draw: &mut Draw, least: u64, most: u64) -> String {
    let count = least + draw.below(most - least + 1);
    (0..count).map(|_| draw.pick(&WORDS)).collect::<Vec<_>>().join(" ")
}

/// Text as people write it: some of it isn't ASCII, and a little of it isn't well-behaved.
pub(super) fn text(draw: &mut Draw, sentences: u64) -> String {
    let mut text = String::new();
    for _ in 0..=draw.below(sentences) {
        let sentence = words(draw, 4, 14);
        let (head, rest) = sentence.split_at(1);
        let end = draw.pick(&[
            ". ",
            ".\n\n",
            "! ",
            "? ",
            " 🐝 ",
            " — \"so they say\". ",
            "\n* ",
            " – café, 東京, Привет. ",
        ]);
        text.push_str(&format!("{}{rest}{end}", head.to_uppercase()));
    }
    if draw.percent(1) {
        text.push_str("\u{1b}[31mred\u{1b}[0m \u{202e}drawkcab\u{202c} \\ \u{7f}");
    }
    text
}

/// `STM…`: looks like a public key, is none.
pub(super) fn public_key(of: u64) -> String {
    let mut draw = Draw::keyed(&[0x5ea1, of % 400]);
    let digits = (0..50).map(|_| char::from(BASE58[draw.index(BASE58.len())]));
    "STM".chars().chain(digits).collect()
}

pub(super) fn base36(mut number: u64) -> String {
    let mut digits = Vec::new();
    loop {
        digits.push(
            b"0123456789abcdefghijklmnopqrstuvwxyz"[usize::try_from(number % 36).expect("it is below 36")],
        );
        number /= 36;
        if number == 0 {
            break;
        }
    }
    digits.iter().rev().map(|digit| char::from(*digit)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_names_are_ones_the_chain_would_take() {
        for number in 0..ACCOUNTS {
            let name = named(number);
            assert!((3..=16).contains(&name.len()), "{name}");
            assert!(
                name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-".contains(&b)),
                "{name}"
            );
            assert!(name.split('.').all(|part| part.len() >= 3 && !part.ends_with('-')), "{name}");
        }
    }

    #[test]
    fn each_witness_has_one_turn_a_round() {
        let mut round: Vec<&str> = (21..42).map(witness).collect();
        round.sort_unstable();
        round.dedup();
        assert_eq!(round.len(), 21);
    }

    #[test]
    fn base36_counts() {
        assert_eq!([0, 35, 36, 1295].map(base36), ["0", "z", "10", "zz"]);
    }
}
