use super::*;
use crate::forms::{self, Form};
use crate::json::Raw;

fn now() -> Timestamp {
    "2026-01-01T00:00:00.5Z".parse().unwrap()
}

fn generated(settings: &Settings) -> (Chain, Kept) {
    Chain::open(settings, None, now()).unwrap()
}

/// A recording file with these lines, which lives as long as what is returned with it.
fn recorded(lines: &[String], as_recorded: bool) -> (Chain, tempfile::NamedTempFile) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), lines.join("\n")).unwrap();
    let recording = Some(file.path().to_owned());
    let settings = Settings { recording, as_recorded, block_interval: Duration::ZERO, ..Settings::default() };
    (generated(&settings).0, file)
}

fn line(number: u32, transactions: u32) -> String {
    let transaction = |index| format!(r#"{{"operations":[["vote",{{"voter":"v{number}-{index}"}}]]}}"#);
    let transactions: Vec<String> = (0..transactions).map(transaction).collect();
    let (id, previous) = (block::block_id(number, 7), block::block_id(number - 1, 7));
    format!(
        r#"{{"block_num":{number},"block_id":"{id}","previous":"{previous}","timestamp":"2016-03-24T16:05:00","transactions":[{}]}}"#,
        transactions.join(",")
    )
}

fn transaction_ids(block: &Block) -> Vec<&str> {
    block.transactions.iter().map(|t| t.id.as_str()).collect()
}

/// Every block's `previous` is the id of the one before, and every id begins with the number.
fn assert_linked(chain: &Chain, through: u32, branches: &[Branch]) {
    let mut previous = ZERO_ID.to_owned();
    for position in 1..=through {
        let block = chain.block(position, branches);
        assert_eq!(block.previous, previous, "at {position}");
        assert!(block.id.starts_with(&format!("{:08x}", block.number)));
        assert_eq!(block.id, chain.id(position, branches));
        assert_ne!(block.id, previous);
        previous = block.id;
    }
}

#[test]
fn a_generated_chain_is_linked_and_stamped() {
    let (chain, _) = generated(&Settings::default());
    assert_linked(&chain, 60, &[]);
    assert_eq!(chain.block(1, &[]).timestamp(), "2026-01-01T00:00:00");
    assert_eq!(chain.block(21, &[]).timestamp(), "2026-01-01T00:01:00");
    assert_eq!(chain.head_time(21, now()), "2026-01-01T00:01:00");
    for position in 1..60 {
        let block = chain.block(position, &[]);
        let root = block.header.text("transaction_merkle_root").unwrap();
        assert_eq!(root == ZERO_ID, block.transactions.is_empty());
    }
}

#[test]
fn a_restart_goes_on_with_the_same_chain() {
    let settings = Settings::default();
    let (chain, kept) = generated(&settings);
    let kept: Kept = serde_json::from_value(serde_json::to_value(kept).unwrap()).unwrap();
    let later = now() + Duration::from_secs(7_000);
    let (again, kept_again) = Chain::open(&settings, Some(kept.clone()), later).unwrap();
    assert_eq!(kept, kept_again);
    assert!(again.heights(later).head > chain.heights(now()).head);
    for position in 1..=chain.heights(later).head.min(40) {
        let text = |chain: &Chain| forms::block(&chain.block(position, &[]), Form::Appbase);
        assert_eq!(text(&chain).get(), text(&again).get());
    }
    // Another seed or pace is another chain, which begins now.
    for other in [
        Settings { seed: 1, ..settings.clone() },
        Settings { block_interval: Duration::from_secs(1), ..settings.clone() },
    ] {
        let (anew, _) = Chain::open(&other, Some(kept.clone()), later).unwrap();
        assert_eq!(anew.heights(later).head, 1);
    }
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let error = |settings: &Settings| Chain::open(settings, None, now()).unwrap_err().to_string();
    assert!(error(&Settings { as_recorded: true, ..Settings::default() }).contains("needs a recording"));
    assert!(
        error(&Settings { block_interval: Duration::ZERO, ..Settings::default() }).contains("has no end")
    );
    let missing = Settings { recording: Some("/no/such/file".into()), ..Settings::default() };
    assert!(error(&missing).contains("recording /no/such/file"));
}

#[test]
fn a_played_recording_is_numbered_from_one_and_linked() {
    let (chain, _file) = recorded(&[line(900, 2), line(17, 0), line(901, 1)], false);
    assert_linked(&chain, 3, &[]);
    assert_eq!(chain.heights(now()), Heights { head: 3, irreversible: 3 });
    assert_eq!(chain.block(2, &[]).transactions.len(), 0);
    assert_eq!(chain.block(3, &[]).id, block::block_id(3, 7));
    assert_eq!(chain.block(1, &[]).timestamp(), "2016-03-24T16:05:00");
    assert_eq!(chain.head_time(3, now()), "2026-01-01T00:00:00");
    assert_eq!((chain.position(4), chain.position(0)), (None, None));
}

#[test]
fn as_recorded_it_has_its_own_numbers_and_holes() {
    let (chain, _file) = recorded(&[line(900, 2), line(17, 0), line(901, 1)], true);
    assert_eq!((1..=3).map(|p| chain.number(p)).collect::<Vec<_>>(), [17, 900, 901]);
    assert_eq!((chain.position(17), chain.position(18), chain.position(901)), (Some(1), None, Some(3)));
    for position in 1..=3 {
        let block = chain.block(position, &[]);
        assert_eq!(block.id, block::block_id(block.number, 7));
        assert_eq!(block.previous, block::block_id(block.number - 1, 7));
    }
    assert_eq!(chain.head_time(3, now()), "2016-03-24T16:05:00");
}

#[test]
fn a_fork_replaces_blocks_and_stays_linked() {
    let settings = Settings { block_interval: Duration::from_secs(1), ..Settings::default() };
    let (chain, _) = generated(&settings);
    let fork = Branch { from: 11, to: 14, salt: 99 };
    assert_linked(&chain, 30, &[fork]);
    for position in 1..=30 {
        let (was, is) = (chain.block(position, &[]), chain.block(position, &[fork]));
        assert_eq!(was.id != is.id, position >= 11, "at {position}");
        assert_eq!(
            transaction_ids(&was) != transaction_ids(&is),
            (11..=14).contains(&position),
            "at {position}"
        );
    }
    let ids = |branches: &[Branch]| -> Vec<String> {
        (11..=14).flat_map(|p| chain.block(p, branches).transactions).map(|t| t.id).collect()
    };
    let (was, is) = (ids(&[]), ids(&[fork]));
    let kept = is.iter().filter(|id| was.contains(id)).count();
    assert!(kept > 0 && kept < was.len() && kept < is.len(), "{kept} of {} and {}", was.len(), is.len());
    // No transaction is there twice, and a second fork over the first is another one.
    let mut unique = is.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), is.len());
    let second = Branch { from: 13, to: 16, salt: 5 };
    assert_linked(&chain, 30, &[fork, second]);
    assert_eq!(chain.id(12, &[fork, second]), chain.id(12, &[fork]));
    assert_ne!(chain.id(13, &[fork, second]), chain.id(13, &[fork]));
}

#[test]
fn a_fork_of_a_recording_keeps_what_it_leaves_alone() {
    let lines: Vec<String> = (1..=20).map(|number| line(number, 5)).collect();
    let (chain, _file) = recorded(&lines, false);
    let fork = Branch { from: 18, to: 20, salt: 3 };
    assert_linked(&chain, 20, &[fork]);
    let text = |position, branches: &[Branch]| -> Raw {
        forms::block(&chain.block(position, branches), Form::Condenser)
    };
    assert_eq!(text(17, &[]).get(), text(17, &[fork]).get());
    assert_ne!(text(18, &[]).get(), text(18, &[fork]).get());
}
