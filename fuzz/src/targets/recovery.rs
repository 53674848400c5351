//! A writer takes damaged files over.

use std::collections::BTreeMap;
use std::path::Path;

use journal::{
    Ack, Batch, Checkpoint, Codec, Entry, Error, Level, Offset, Options, Position, Start, SyncPolicy, Writer,
    verify,
};

use crate::history::{Seen, read};
use crate::input::Input;
use crate::{empty_folder, image};

/// A journal that goes on behind this is not taken over.
const OPENED_MAX: Offset = Offset(((1 << 56) - 1) / 2);

type Acknowledged = BTreeMap<(String, String), Position>;

fn open(instance: &Path) -> Result<Writer, Error> {
    let options = Options { segment_bytes: 8 << 10, sync: SyncPolicy::Never, ..Options::default() };
    Writer::open(instance, &options)
}

fn acknowledged(writer: &Writer) -> Acknowledged {
    writer
        .acknowledged()
        .map(|(subscription, journal, position)| ((subscription.to_owned(), journal.to_owned()), position))
        .collect()
}

/// All that readers get. `None` if an old segment says that it is of another version: that is an error for readers,
/// and the writer does not look at it.
fn everything(instance: &Path) -> Option<(Vec<Seen>, Offset)> {
    match read(instance, Start::Beginning, Level::Committed) {
        Ok(read) => Some(read.expect("a writer was there")),
        Err(Error::ForeignVersion { .. }) => None,
        Err(error) => panic!("a journal that was recovered cannot be read: {error}"),
    }
}

/// Whatever the files say: the writer opens them or says why not. Once it has, readers get every offset as a
/// record or a gap, what is appended comes behind it, and opening it again changes nothing.
pub fn recovery(data: &[u8]) {
    let mut input = Input(data);
    let files = image::build(&mut input);
    let instance = empty_folder("recovery").join("instance");
    image::write(&files, &instance);
    let mut writer = match open(&instance) {
        Ok(writer) => writer,
        Err(error) => return refused(&error),
    };
    let (next, epoch) = (writer.next_offset(), writer.epoch());
    let Some((before, end)) = everything(&instance) else { return };
    assert_eq!(end, next, "readers do not come to the writer's end");

    let said = append(&mut writer);
    let state = acknowledged(&writer);
    let checkpoint = writer.checkpoint("fuzz").map(<[u8]>::to_vec);
    let (after, end) = everything(&instance).expect("it was read before");
    assert_eq!(end, writer.next_offset());
    assert_eq!(after[..before.len()], before, "appending has changed what was there");
    let new: Vec<Offset> = after[before.len()..]
        .iter()
        .map(|seen| match seen {
            Seen::Record(offset, _) => *offset,
            Seen::Gap(gap) => panic!("a gap in what was just said: {gap:?}"),
        })
        .collect();
    assert_eq!(new, said);
    drop(writer);
    let report = verify(&instance).expect("a recovered journal can be checked");

    let opened = open(&instance);
    if end > OPENED_MAX {
        // What was said has used the first half of all offsets up: the rest is for one epoch.
        assert!(matches!(opened, Err(Error::Corrupt { .. })), "{opened:?}");
        return;
    }
    let writer = opened.expect("a journal that was recovered opens again");
    assert_eq!(writer.next_offset(), end, "opening it again has lost records");
    assert_eq!(writer.epoch().0, epoch.0 + 1);
    assert_eq!(acknowledged(&writer), state, "opening it again has lost acknowledgements");
    assert_eq!(writer.checkpoint("fuzz").map(<[u8]>::to_vec), checkpoint);
    let (again, _) = everything(&instance).expect("it was read before");
    assert_eq!(again, after, "opening it again has changed what was there");
    let again = verify(&instance).expect("a recovered journal can be checked");
    assert_eq!(again.damage, report.damage);
    assert_eq!(again.records, report.records);
}

fn refused(error: &Error) {
    assert!(
        matches!(error, Error::Corrupt { .. } | Error::ForeignVersion { .. } | Error::Options(_)),
        "files cannot be the reason for: {error}"
    );
    assert!(!error.to_string().is_empty());
}

/// Says something, of each kind, enough for another segment; returns the offsets.
fn append(writer: &mut Writer) -> Vec<Offset> {
    let mut said = Vec::new();
    for (topic, payload) in
        [("old", &[1; 8][..]), ("fuzz", &[2; 700]), ("fuzz", &[3; 3000]), ("fuzz", &[4; 3000])]
    {
        let cause = Some(journal::Cause { journal: "other", offset: Offset(7) });
        let entry = Entry { topic, key: Some(b"k"), cause, codec: Codec::Raw, payload };
        let ack = Ack { subscription: "s", journal: "other", position: Position::at(Offset(8)) };
        let checkpoint = Checkpoint { name: "fuzz", value: payload };
        let batch = Batch { entries: &[entry, entry], acks: &[ack], checkpoints: &[checkpoint] };
        match writer.commit(&batch) {
            Ok(offsets) => {
                assert_eq!(offsets.start.plus(2), offsets.end);
                said.extend((offsets.start.0..offsets.end.0).map(Offset));
            }
            // The state that was found leaves no room for it.
            Err(Error::TooLarge { .. }) => {}
            Err(error) => panic!("cannot go on after recovery: {error}"),
        }
    }
    said
}
