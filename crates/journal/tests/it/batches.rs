//! How much goes into one batch, and into one segment.

use journal::{
    Ack, Batch, Cause, Checkpoint, Codec, Entry, Error, Item, Level, Offset, Position, Reader, Start, Writer,
    verify,
};

use crate::support::{fast_folder, segments, small};

fn entry<'a>(topic: &'a str, journal: &'a str, payload: &'a [u8]) -> Entry<'a> {
    let cause = Some(Cause { journal, offset: Offset(7) });
    Entry { topic, key: None, cause, codec: Codec::Raw, payload }
}

#[test]
fn a_name_counts_once_in_a_batch_however_often_it_occurs() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let instance = home.path().join("says");
    let mut writer = Writer::open(&instance, &small(8)).unwrap();
    let (topic, journal) = ("t".repeat(100), "j".repeat(100));
    // One entry more than its limit, to learn the size of both.
    let many = vec![entry(&topic, &journal, &[]); 400];
    let error = writer.commit(&Batch { entries: &many, ..Batch::default() }).unwrap_err();
    let Error::TooLarge { found, limit, .. } = error else { panic!("{error}") };
    let fewer = &many[..many.len() - 1];
    let error = writer.commit(&Batch { entries: fewer, ..Batch::default() }).unwrap_err();
    let Error::TooLarge { found: found_fewer, .. } = error else { panic!("{error}") };
    let stride = found - found_fewer;
    let most = many.len() - (found - limit).div_ceil(stride);
    assert!(most > 100, "{most} entries of {stride} bytes, and two names, have room");
    let room = limit - (found - (many.len() - most) * stride);
    let (payload, larger) = (vec![7; room], vec![7; room + 8]);

    let mut entries = vec![entry(&topic, &journal, &[]); most];
    entries[0].payload = &larger;
    let error = writer.commit(&Batch { entries: &entries, ..Batch::default() }).unwrap_err();
    assert!(matches!(error, Error::TooLarge { found, .. } if found == limit + 8), "{error}");
    entries[0].payload = &payload;
    let said = writer.commit(&Batch { entries: &entries, ..Batch::default() }).unwrap();
    assert_eq!(said, Offset(0)..Offset(most as u64));

    let mut reader = Reader::open(&instance, Start::Beginning, Level::Committed).unwrap().unwrap();
    for (offset, wanted) in entries.iter().enumerate() {
        let Some(Item::Record(found)) = reader.next().unwrap() else { panic!("{offset} is missing") };
        assert_eq!((found.topic, found.payload), (wanted.topic, wanted.payload));
        assert_eq!(found.cause.unwrap().journal, journal);
    }
    assert_eq!(verify(&instance).unwrap().damage, []);
}

#[test]
fn a_batch_that_fits_behind_the_last_one_begins_no_segment() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let instance = home.path().join("says");
    let mut writer = Writer::open(&instance, &small(8)).unwrap();
    writer.append(&entry("before", "before", &[])).unwrap();
    let (topic, journal) = ("t".repeat(100), "j".repeat(100));
    let entries = vec![entry(&topic, &journal, &[]); 60];
    writer.commit(&Batch { entries: &entries, ..Batch::default() }).unwrap();
    assert_eq!(segments(&instance).len(), 1);
    assert_eq!(verify(&instance).unwrap().damage, []);
}

#[test]
fn what_an_acknowledgement_or_checkpoint_replaces_takes_no_room_of_its_own() {
    let home = tempfile::tempdir_in(fast_folder()).unwrap();
    let instance = home.path().join("says");
    let mut writer = Writer::open(&instance, &small(8)).unwrap();
    // Until nothing more goes in.
    let names: Vec<String> = (0..).map(|index| format!("{index:0>100}")).take(100).collect();
    let ack =
        |name, next| Ack { subscription: name, journal: "source", position: Position::at(Offset(next)) };
    let known: Vec<&str> = names
        .iter()
        .map(String::as_str)
        .take_while(|name| writer.commit(&Batch { acks: &[ack(name, 1)], ..Batch::default() }).is_ok())
        .collect();
    assert!(known.len() > 10 && known.len() < names.len(), "{}", known.len());
    let mut renew = |acks: &[Ack<'_>], checkpoints: &[Checkpoint<'_>]| {
        writer.commit(&Batch { acks, checkpoints, ..Batch::default() })
    };
    renew(&[ack(known[0], 2)], &[]).unwrap();
    let last = known[known.len() - 1];
    // An acknowledgement that is taken back makes room for what comes in its place.
    renew(&[Ack { position: Position::default(), ..ack(last, 0) }], &[]).unwrap();
    let point = Checkpoint { name: "c", value: &[7; 50] };
    renew(&[], &[point, point, point]).unwrap();
    let error = renew(&[ack("another", 1), ack(last, 2)], &[]).unwrap_err();
    assert!(matches!(error, Error::Full { .. }), "{error}");
    drop(writer);
    let writer = Writer::open(&instance, &small(8)).unwrap();
    let places: Vec<_> = writer.acknowledged().map(|(name, _, position)| (name, position.next.0)).collect();
    let wanted = known[..known.len() - 1].iter().map(|name| (*name, 1 + u64::from(*name == known[0])));
    assert_eq!(places, Vec::from_iter(wanted));
    assert_eq!(writer.checkpoint("c"), Some(&[7; 50][..]));
}
