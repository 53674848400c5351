//! Made-up recordings, with everything in them that could be lost on the way.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// Writes a recording of so many blocks. Its first blocks are the same, however many there are.
pub(crate) fn write(folder: &Path, count: u32) -> PathBuf {
    write_with(folder, count, |block| block)
}

/// The same with halves of surrogate pairs and numbers beyond any double: JSON, but few parsers take it.
pub(crate) fn write_unreadable(folder: &Path, count: u32) -> PathBuf {
    write_with(folder, count, |block| block.replace('é', r"\ud800").replace("1e300", "1e400"))
}

fn write_with(folder: &Path, count: u32, change: impl Fn(String) -> String) -> PathBuf {
    let path = folder.join(format!("blocks-{count}.ndjson"));
    let mut file = BufWriter::new(File::create(&path).unwrap());
    for number in 1..=count {
        writeln!(file, "{}", change(block(number))).unwrap();
    }
    file.flush().unwrap();
    path
}

/// One with the blocks of these numbers out of a recorded one.
pub(crate) fn slice(recording: &Path, lines: RangeInclusive<usize>, folder: &Path) -> PathBuf {
    let path = folder.join("slice.ndjson");
    let mut text = String::new();
    let file = File::open(recording).unwrap();
    std::io::Read::read_to_string(&mut flate2::read::MultiGzDecoder::new(file), &mut text).unwrap();
    let kept = text.lines().skip(lines.start() - 1).take(lines.count());
    std::fs::write(&path, kept.map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    path
}

/// How many operations the blocks up to this one have.
pub(crate) fn operations(count: u32) -> u64 {
    (1..=count).map(|number| operations_of(number).iter().map(Vec::len).sum::<usize>() as u64).sum()
}

/// The permlink of the post that block `number` has; every block with operations has one.
pub(crate) fn permlink(number: u32) -> String {
    format!("post-{number:05}")
}

fn block(number: u32) -> String {
    let transactions: Vec<String> =
        operations_of(number).iter().map(|operations| transaction(number, operations)).collect();
    let ids: Vec<String> =
        (0..transactions.len()).map(|index| format!("\"{:08x}{index:032x}\"", number)).collect();
    let root = if transactions.is_empty() { "0".repeat(40) } else { "ab".repeat(20) };
    format!(
        r#"{{"block_num":{number},"block_id":"{number:08x}{:032x}","previous":"{:08x}{:032x}","timestamp":"{}","witness":"initminer","transaction_merkle_root":"{root}","extensions":[],"witness_signature":"{}","transactions":[{}],"transaction_ids":[{}]}}"#,
        u64::from(number) * 7919,
        number - 1,
        u64::from(number - 1) * 7919,
        timestamp(number),
        "0".repeat(130),
        transactions.join(","),
        ids.join(","),
    )
}

fn timestamp(number: u32) -> String {
    let seconds = number * 3;
    format!("2016-03-24T{:02}:{:02}:{:02}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60)
}

fn transaction(number: u32, operations: &[String]) -> String {
    format!(
        r#"{{"ref_block_num":{number},"ref_block_prefix":1,"expiration":"2016-03-25T00:00:00","operations":[{}],"extensions":[],"signatures":[]}}"#,
        operations.join(",")
    )
}

/// The operations of a block's transactions. Each fifth block is empty.
fn operations_of(number: u32) -> Vec<Vec<String>> {
    if number.is_multiple_of(5) {
        return Vec::new();
    }
    let author = format!("ann{}", number % 7);
    let earlier =
        if number > 10 { number - if (number - 9).is_multiple_of(5) { 8 } else { 9 } } else { number };
    let edited = format!("ann{}", earlier % 7);
    vec![
        vec![
            comment("", "category", &author, &permlink(number), r"Größe \u00e9 😀", "half a pair: é"),
            // An edit of a post that was there before is no new post.
            comment("", "category", &edited, &permlink(earlier), "edited", "@@ -1 +1 @@"),
        ],
        vec![
            comment(&author, &permlink(number), "bob", &format!("re-{number}"), "", "a reply"),
            format!(
                r#"{{"type":"vote_operation","value":{{"voter":"bob","author":"{author}","permlink":"{}","weight":-10000}}}}"#,
                permlink(number)
            ),
            transfer(number, r#"{"amount":"1500","precision":3,"nai":"@@000000021"}"#),
        ],
        vec![transfer(number, r#""1000.001 HBD""#), transfer(number, r#"["1000000",3,"@@000000021"]"#)],
        vec![odd(number)],
    ]
}

fn comment(
    parent: &str,
    parent_permlink: &str,
    author: &str,
    permlink: &str,
    title: &str,
    body: &str,
) -> String {
    format!(
        r#"{{"type":"comment_operation","value":{{"parent_author":"{parent}","parent_permlink":"{parent_permlink}","author":"{author}","permlink":"{permlink}","title":"{title}","body":"{body}","json_metadata":"{{\"tags\":[\"é\"]"}}}}"#
    )
}

fn transfer(number: u32, amount: &str) -> String {
    format!(
        r#"{{"type":"transfer_operation","value":{{"from":"carl{}","to":"dora","amount":{amount},"memo":"7.000 HIVE"}}}}"#,
        number % 3
    )
}

/// What a reader that isn't careful would change, drop or stumble over.
fn odd(number: u32) -> String {
    match number % 8 {
        0 => r#"{"type":"brand_new_thing_operation","value":{"n":98765432109876543210,"x":1.50,"y":1e300,"z":-0,"deep":[[[{}]]]}}"#,
        1 => r#"{"type":"custom_json_operation","value":{"required_auths":[],"required_posting_auths":["bob","carl"],"id":"","json":"{not json \u0000"}}"#,
        2 => r#"{"type":"custom_json_operation","value":{"required_auths":["bob"],"required_posting_auths":[],"id":"7","json":""}}"#,
        3 => r#"{"type":"twice_operation","value":{"a":1,"b":2,"a":3}}"#,
        4 => r#"{"type":"vote_operation","value":{"voter":"bob"},"extra":"would be lost"}"#,
        5 => r#"{"value":{"order":"the other way round","empty":{},"none":null},"type":"Vo te/ä_operation"}"#,
        6 => r#"{"type":"effective_comment_vote_operation","value":{"voter":"bob","weight":"2456427202684386280"}}"#,
        _ => r#"{"type":"_hidden_operation","value":"no object"}"#,
    }
    .to_owned()
}
