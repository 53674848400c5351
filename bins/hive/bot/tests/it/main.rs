//! The bot as a process: what it says of which comments, however often it is killed.
#![expect(clippy::unwrap_used, reason = "a test whose preparations fail, fails")]

use journal::{Cause, Codec, Entry, Item, Level, Offset, Options, Reader, Start, Writer};
use serde_json::{Value, json};
use testkit::{DEADLINE, Home, Running, wait_until};

/// A journal like the broadcaster's.
struct Broadcaster {
    writer: Writer,
}

impl Broadcaster {
    fn of(home: &Home) -> Self {
        let options = Options { segment_bytes: 1 << 20, ..Options::default() };
        Broadcaster { writer: Writer::open(&home.instance("broadcaster"), &options).unwrap() }
    }

    fn says(&mut self, parent: &str, author: &str, permlink: &str, title: &str) -> Offset {
        let payload = json!({"block": 1, "trx_id": "", "trx_in_block": 0, "op_in_trx": 0,
            "timestamp": "2016-03-24T16:05:00", "op": {"type": "comment_operation", "value": {
                "parent_author": parent, "parent_permlink": "p", "author": author, "permlink": permlink,
                "title": title, "body": "", "json_metadata": ""}}});
        let payload = payload.to_string();
        let key = Some(author.as_bytes());
        let entry =
            Entry { topic: "comment", key, cause: None, codec: Codec::Json, payload: payload.as_bytes() };
        self.writer.append(&entry).unwrap()
    }
}

/// What the bot has said: the payload, and the offset of its cause.
fn said(home: &Home) -> Vec<(Value, u64)> {
    let reader = Reader::open(&home.instance("bot"), Start::Beginning, Level::Committed).unwrap();
    let mut said = Vec::new();
    let Some(mut reader) = reader else { return said };
    while let Some(item) = reader.next().unwrap() {
        let Item::Record(record) = item else { panic!("{item:?}") };
        assert_eq!(record.topic, "new-post");
        let Some(Cause { journal: "broadcaster", offset }) = record.cause else { panic!("{record:?}") };
        said.push((serde_json::from_slice(record.payload).unwrap(), offset.0));
    }
    said
}

fn urls(home: &Home) -> Vec<String> {
    said(home).iter().map(|(post, _)| post["url"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_post_is_announced_once_and_neither_a_reply_nor_an_edit_is() {
    let home = Home::new();
    let mut broadcaster = Broadcaster::of(&home);
    let first = broadcaster.says("", "ann", "one", "A title");
    broadcaster.says("ann", "bob", "re-one", "");
    broadcaster.says("", "ann", "one", "A better title");
    let second = broadcaster.says("", "bob", "one", "");

    let bot = Running::start(&home, "bot", &["run", "--frontend", "https://hive.blog/"]);
    wait_until(DEADLINE, "two posts are announced", || said(&home).len() == 2);
    let posts = said(&home);
    assert_eq!((posts[0].1, posts[1].1), (first.0, second.0));
    assert_eq!(posts[0].0["title"], "A title");
    let expected = ["https://hive.blog/@ann/one", "https://hive.blog/@bob/one"];
    assert_eq!(urls(&home), expected);
    wait_until(DEADLINE, "two lines are printed", || bot.stdout().lines().eq(expected));
    bot.kill9();

    // An edit isn't news after a restart either, and one more post is.
    broadcaster.says("", "ann", "one", "The best title");
    broadcaster.says("", "cid", "one", "");
    let bot = Running::start(&home, "bot", &["run", "--frontend", "https://hive.blog/"]);
    wait_until(DEADLINE, "the third post is announced", || said(&home).len() == 3);
    wait_until(DEADLINE, "it alone is printed", || bot.stdout() == "https://hive.blog/@cid/one\n");
    bot.terminate(DEADLINE).assert_code(0);
    assert_eq!(urls(&home)[2], "https://hive.blog/@cid/one");
}

#[test]
fn every_post_is_announced_once_however_often_the_bot_is_killed() {
    let home = Home::new();
    let mut broadcaster = Broadcaster::of(&home);
    let mut expected = Vec::new();
    for round in 0..20 {
        for number in 0..50 {
            let permlink = format!("post-{round}-{number}");
            broadcaster.says("", "ann", &permlink, "");
            broadcaster.says("", "ann", &permlink, "edited");
            expected.push(format!("https://peakd.com/@ann/{permlink}"));
        }
        let bot = Running::start(&home, "bot", &["run"]);
        // Killed in the middle of its work, wherever that is.
        let enough = expected.len() - 25;
        wait_until(DEADLINE, "some posts are announced", || said(&home).len() >= enough);
        bot.kill9();
    }
    let mut bot = Running::start(&home, "bot", &["run"]);
    bot.wait_for_log(DEADLINE, "ready");
    wait_until(DEADLINE, "all posts are announced", || said(&home).len() >= expected.len());
    bot.terminate(DEADLINE).assert_code(0);
    assert_eq!(urls(&home), expected);
}

#[test]
fn what_cannot_be_read_is_passed_over() {
    let home = Home::new();
    let mut broadcaster = Broadcaster::of(&home);
    for payload in [r#"{"block":1}"#, "no JSON", r#"{"op":{"type":"comment_operation","value":7}}"#] {
        let payload = payload.as_bytes();
        let entry = Entry { topic: "comment", key: None, cause: None, codec: Codec::Json, payload };
        broadcaster.writer.append(&entry).unwrap();
    }
    broadcaster.says("", "ann", "one", "");
    let bot = Running::start(&home, "bot", &["run"]);
    wait_until(DEADLINE, "the post is printed", || bot.stdout() == "https://peakd.com/@ann/one\n");
    bot.terminate(DEADLINE).assert_code(0);
}

#[test]
fn a_front_end_that_is_none_is_refused() {
    let home = Home::new();
    home.configure("bot.toml", "frontend = \"peakd.com\"\n");
    home.run("bot", &["run"]).assert_code(78).assert_says(&["bot.toml", "frontend", "no web site"]);
}
