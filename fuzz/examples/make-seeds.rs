//! Makes the sound instance that the targets damage, and each target's first inputs.
//!
//! `cargo run --example make-seeds` in `fuzz/`. The identity of the journal and its times differ from run to run, so
//! the files are checked in: an input means the same on every machine.

use std::fs;
use std::path::Path;

use journal::{
    Ack, Batch, Cause, Checkpoint, Codec, Cursors, Entry, Epoch, Offset, Options, Position, Result,
    SyncPolicy, Writer,
};

fn main() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let instance = root.join("seeds");
    let _ = fs::remove_dir_all(&instance);
    fs::create_dir_all(&instance).expect("seeds/ can be made");
    for last in [12, 30] {
        let options = Options { segment_bytes: 8 << 10, sync: SyncPolicy::Never, ..Options::default() };
        let mut writer = Writer::open(&instance, &options)?;
        say(&mut writer, last)?;
        let cursors = Cursors::open(&instance, &writer)?;
        cursors.claim("other", "x")?.store(Position::at(Offset(3)));
        let position = Position { next: Offset(5), epoch: Epoch(1), checksum: 9, journal: 7 };
        let cursor = cursors.claim("subscription", "x")?;
        cursor.store(position);
        cursor.store(Position { next: Offset(6), ..position });
    }
    for name in ["lock", "alive"] {
        fs::remove_file(instance.join(name)).expect("it is there");
    }
    inputs(&root.join("corpus"));
    Ok(())
}

/// Records up to offset `last`, of each kind, about 600 bytes each.
fn say(writer: &mut Writer, last: u64) -> Result<()> {
    while writer.next_offset().0 < last {
        let next = writer.next_offset().0;
        let payload = vec![next.to_le_bytes()[0]; 540];
        let cause = next.is_multiple_of(3).then_some(Cause { journal: "journal", offset: Offset(next) });
        let key = next.is_multiple_of(2).then_some(&b"key"[..]);
        let topic = if next.is_multiple_of(5) { "old" } else { "topic" };
        let entry = Entry { topic, key, cause, codec: Codec::Raw, payload: &payload };
        let ack =
            Ack { subscription: "subscription", journal: "journal", position: Position::at(Offset(next)) };
        let checkpoint = Checkpoint { name: "state", value: b"{}" };
        match next % 4 {
            0 => drop(writer.append(&entry)?),
            1 => drop(writer.commit(&Batch { entries: &[entry], acks: &[ack], checkpoints: &[] })?),
            2 => drop(writer.commit(&Batch {
                entries: &[entry, entry],
                acks: &[],
                checkpoints: &[checkpoint],
            })?),
            _ => {
                drop(writer.commit(&Batch { entries: &[entry], acks: &[ack], checkpoints: &[checkpoint] })?)
            }
        }
    }
    Ok(())
}

/// A few inputs for each target, one for each kind of step.
fn inputs(corpus: &Path) {
    let put = |target: &str, name: &str, bytes: &[u8]| {
        let folder = corpus.join(target);
        fs::create_dir_all(&folder).expect("corpus/ can be made");
        fs::write(folder.join(name), bytes).expect("corpus/ can be written");
    };
    // See `image::step` for what the bytes mean.
    let steps: [(&str, &[u8]); 14] = [
        ("sound", &[0]),
        ("empty", &[255]),
        ("flip", &[0, 1, 1, 200, 1, 3]),
        ("write", &[0, 2, 1, 0, 2, 4, 9, 9, 9, 9]),
        ("truncate", &[0, 3, 2, 0, 3]),
        ("extend", &[0, 4, 2, 0, 0, 0, 4, 1]),
        ("zero-page", &[0, 5, 3, 0, 16]),
        ("copy", &[0, 6, 1, 0, 4, 0, 8, 0, 1]),
        ("remove", &[0, 7, 2]),
        ("rename", &[0, 8, 2, 40, 1, 0]),
        ("field", &[0, 10, 1, 3, 0, 20]),
        ("length", &[0, 11, 2, 4, 60]),
        ("reboot", &[0, 14, 13, 2, 14, 1, 3, 0, 7, 1]),
        ("mark", &[0, 13, 1, 40, 13, 0, 99]),
    ];
    for (name, bytes) in steps {
        put("recovery", name, bytes);
        put("reader", name, &[&[0, 0], bytes].concat());
    }
    put("reader", "position", &[4, 9, 1, 77, 5, 0, 0, 1, 1, 200, 1, 3]);
    put("reader", "time", &[3, 0, 0, 0]);
    put("cursors", "claim", &[0, 0, 3, 200, 9, 1, 7, 4, 0, 1, 2, 9, 1, 7, 4, 1]);
    put("cursors", "damage", &[2, 1, 16, 1, 1, 1, 3, 0, 3, 3, 200, 9, 1, 7, 4, 0]);
    put("cursors", "raw", &[255, 16, 0, 80, 82, 79, 67, 67, 85, 82, 83, 1]);
    let requests = [
        r#"{"method":"org.varlink.service.GetInfo"}"#,
        r#"{"method":"f.E.Echo","parameters":{"text":"a","number":1,"list":[1,2],"inner":{"text":"b"}}}"#,
        r#"{"method":"f.E.Many","more":true,"parameters":{"number":3}}"#,
        r#"{"method":"f.E.Later","oneway":true}"#,
        r#"{"method":"f.E.Later"}"#,
        r#"{"method":"f.E.Drop"}"#,
        r#"{"method":"f.E.Fail","upgrade":true}"#,
        r#"{"method":"io.procession.Protocol.X","parameters":null}"#,
        r#"{"method":"org.varlink.service.GetInterfaceDescription","parameters":{"interface":"f.E"}}"#,
    ];
    put("varlink", "each", format!("\u{7}{}\0", requests.join("\0")).as_bytes());
    for (index, request) in requests.iter().enumerate() {
        put("varlink", &format!("request-{index}"), format!("\u{3}{request}\0").as_bytes());
    }
    put("settings", "files", b"[process]\nshutdown_timeout = \"3s\"\n[process.journal]\nsync = \"never\"\n[bot]\nport = 1\n\0text = \"a\"\nrates = { HBD = 5 }\n[inner]\na = 1\n");
    put("settings", "variables", b"\0\0BOT__PORT=17\0BOT__NODES=a,b\0BOT__RATES=A=1,B=2\0BOT__SEVERAL=[{\"a\":1}]\0PROCESS__JOURNAL__SYNC=every 1s\0PROCESS__JOURNAL__MAX_BYTES=");
    put(
        "settings",
        "faults",
        b"stray = 1\n[process]\nsyn = 1\n\0port = 70000\nsize = \"1 XB\"\nchoice = \"second\"\nratio = nan\n",
    );
}
