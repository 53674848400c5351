//! Following chains that are served over real sockets.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::timeout;

use super::*;
use crate::chain::{Fault, TestNode, id};

/// Nothing here takes longer, unless something is wrong.
const DEADLINE: Duration = Duration::from_secs(20);

fn settings(nodes: &[&TestNode], mode: Mode) -> Settings {
    Settings {
        nodes: nodes.iter().map(|node| node.url.clone()).collect::<Vec<_>>().try_into().unwrap(),
        start: Start::First,
        mode,
        request_timeout: Duration::from_millis(300),
        stall_timeout: Duration::from_millis(200),
        poll_interval: Duration::from_millis(5),
        backoff_max: Duration::from_millis(400),
        ..Settings::default()
    }
}

fn follow(nodes: &[&TestNode], mode: Mode) -> Follow {
    Follow::new(&settings(nodes, mode), None, 0).unwrap()
}

/// The next step, said at once.
async fn step(follow: &mut Follow) -> Advance {
    let advance = timeout(DEADLINE, follow.next()).await.expect("a step before the deadline");
    let said: usize = advance.block.transactions.iter().map(|transaction| transaction.operations.len()).sum();
    let end = follow.journal_end + u64::try_from(said).unwrap() + 1;
    follow.said(advance.position.clone(), end);
    advance
}

/// Takes steps and checks that they are exactly these blocks of this fork.
async fn expect(follow: &mut Follow, numbers: std::ops::RangeInclusive<u32>, fork: u32) {
    for number in numbers {
        let advance = step(follow).await;
        assert_eq!((advance.block.number, advance.block.id), (number, Some(id(number, fork))));
        assert_eq!(advance.replaced, []);
        assert_eq!(advance.block.transactions.len(), (number % 3) as usize);
    }
}

/// Checks that no step comes, while the node goes on being asked.
async fn expect_none(follow: &mut Follow, node: &TestNode) {
    let before = node.state().asked.len();
    let busy = async {
        while node.state().asked.len() < before + 8 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        advance = follow.next() => panic!("an unexpected step: {advance:?}"),
        done = timeout(DEADLINE, busy) => done.expect("the node is asked again and again"),
    }
}

#[tokio::test]
async fn catches_up_by_ranges_and_then_follows() {
    let node = TestNode::with(300, 290).await;
    let mut follow = follow(&[&node], Mode::Irreversible);
    expect(&mut follow, 1..=290, 0).await;
    assert_eq!(node.asked("block_api.get_block_range"), 4, "50 + 100 + 100 + 40");
    assert_eq!(node.asked("block_api.get_block"), 0);
    expect_none(&mut follow, &node).await;
    node.state().irreversible = 291;
    expect(&mut follow, 291..=291, 0).await;
    node.state().grow(301..=305, 0, 0);
    node.state().irreversible = 305;
    expect(&mut follow, 292..=305, 0).await;
}

#[tokio::test]
async fn compressed_answers_are_read() {
    let node = TestNode::with(100, 100).await;
    node.state().fault = Fault::Gzip;
    expect(&mut follow(&[&node], Mode::Irreversible), 1..=100, 0).await;
}

#[tokio::test]
async fn begins_where_it_is_told_to() {
    let node = TestNode::with(50, 40).await;
    for (start, mode, first) in [
        (Start::First, Mode::Irreversible, 1),
        (Start::Head, Mode::Irreversible, 40),
        (Start::Head, Mode::Head, 50),
        (Start::Block(33), Mode::Head, 33),
    ] {
        let settings = Settings { start, ..settings(&[&node], mode) };
        let mut follow = Follow::new(&settings, None, 0).unwrap();
        assert_eq!(step(&mut follow).await.block.number, first, "{start} {mode:?}");
    }
}

#[tokio::test]
async fn a_node_without_ranges_or_without_the_newer_api_is_asked_otherwise() {
    let node = TestNode::with(30, 30).await;
    node.state().lacks = BTreeSet::from(["get_block_range"]);
    expect(&mut follow(&[&node], Mode::Irreversible), 1..=30, 0).await;
    assert_eq!((node.asked("block_api.get_block_range"), node.asked("block_api.get_block")), (1, 30));

    node.state().asked.clear();
    node.state().lacks = BTreeSet::from(["block_api.", "database_api."]);
    expect(&mut follow(&[&node], Mode::Irreversible), 1..=30, 0).await;
    assert_eq!((node.asked("block_api.get_block"), node.asked("condenser_api.get_block")), (1, 30));
    assert!(node.asked("condenser_api.get_dynamic_global_properties") > 0);
}

#[tokio::test]
async fn a_node_that_has_no_way_to_ask_is_left_for_another() {
    let [useless, node] = [TestNode::with(30, 30).await, TestNode::with(30, 30).await];
    useless.state().lacks = BTreeSet::from(["get_block"]);
    expect(&mut follow(&[&useless, &node], Mode::Irreversible), 1..=30, 0).await;
}

#[tokio::test]
async fn every_fault_leads_to_another_node_and_nothing_is_lost_or_repeated() {
    let faults = [
        Fault::Closed,
        Fault::Silent,
        Fault::Status(502),
        Fault::Status(429),
        Fault::Status(301),
        Fault::Status(404),
        Fault::Text("11 eof_exception: End Of File\nstringstream"),
        Fault::Text("<html>maintenance</html>"),
        Fault::Text(""),
        Fault::CutOff,
        Fault::CutJson,
        Fault::Error(-32603, "Internal Error"),
        Fault::Error(-32003, "Unable to acquire database lock"),
        Fault::Error(1000, "Request Timeout"),
        Fault::Error(-32000, "Parse Error:Couldn't parse uint64_t"),
        Fault::Hollow,
    ];
    for fault in faults {
        let [bad, good] = [TestNode::with(60, 20).await, TestNode::with(60, 20).await];
        let mut follow = follow(&[&bad, &good], Mode::Irreversible);
        expect(&mut follow, 1..=20, 0).await;
        bad.state().fault = fault.clone();
        for node in [&bad, &good] {
            node.state().irreversible = 60;
        }
        let begun = Instant::now();
        expect(&mut follow, 21..=60, 0).await;
        assert!(begun.elapsed() < Duration::from_secs(5), "{fault:?} took {:?}", begun.elapsed());
        // And back again, when the other one fails.
        for node in [&bad, &good] {
            node.state().grow(61..=70, 0, 0);
            node.state().irreversible = 70;
        }
        good.state().fault = fault.clone();
        bad.state().fault = Fault::None;
        expect(&mut follow, 61..=70, 0).await;
    }
}

#[tokio::test]
async fn goes_on_when_all_nodes_were_down() {
    let nodes = [TestNode::with(30, 30).await, TestNode::with(30, 30).await];
    let mut follow = follow(&[&nodes[0], &nodes[1]], Mode::Irreversible);
    for node in &nodes {
        node.state().fault = Fault::Closed;
    }
    expect_none(&mut follow, &nodes[1]).await;
    nodes[1].state().fault = Fault::None;
    expect(&mut follow, 1..=30, 0).await;
}

#[tokio::test]
async fn a_head_that_stands_still_is_left_for_one_that_moves() {
    let nodes = [TestNode::with(30, 30).await, TestNode::with(10, 10).await, TestNode::with(60, 60).await];
    let mut follow = follow(&[&nodes[0], &nodes[1], &nodes[2]], Mode::Irreversible);
    expect(&mut follow, 1..=60, 0).await;
    // When all stand still, we wait, and the first that moves wins.
    expect_none(&mut follow, &nodes[2]).await;
    nodes[1].state().grow(11..=80, 0, 0);
    nodes[1].state().irreversible = 80;
    expect(&mut follow, 61..=80, 0).await;
}

#[tokio::test]
async fn another_chain_is_never_followed() {
    let [node, other] = [TestNode::with(20, 20).await, TestNode::with(90, 90).await];
    let mut follow = follow(&[&other, &node], Mode::Irreversible);
    other.state().fault = Fault::Closed;
    expect(&mut follow, 1..=20, 0).await;
    {
        let mut other = other.state();
        other.fault = Fault::None;
        other.grow(1..=90, 7, 7);
    }
    expect_none(&mut follow, &other).await;
    node.state().grow(21..=40, 0, 0);
    node.state().irreversible = 40;
    expect(&mut follow, 21..=40, 0).await;
}

#[tokio::test]
async fn a_fork_replaces_reversible_blocks_and_says_which() {
    let node = TestNode::with(10, 6).await;
    let mut follow = follow(&[&node], Mode::Head);
    expect(&mut follow, 1..=10, 0).await;
    node.state().grow(8..=12, 1, 0);

    let advance = step(&mut follow).await;
    assert_eq!(advance.block.id, Some(id(8, 1)));
    let replaced: Vec<_> =
        advance.replaced.iter().map(|told| (told.block, told.id.clone().unwrap())).collect();
    assert_eq!(replaced, [(8, id(8, 0)), (9, id(9, 0)), (10, id(10, 0))]);
    assert!(advance.replaced.windows(2).all(|pair| pair[0].from < pair[1].from));
    expect(&mut follow, 9..=12, 1).await;

    // And again, down to the last irreversible block.
    node.state().grow(7..=13, 2, 0);
    let advance = step(&mut follow).await;
    assert_eq!((advance.block.id, advance.replaced.len()), (Some(id(7, 2)), 6));
    expect(&mut follow, 8..=13, 2).await;
}

#[tokio::test]
async fn a_fork_is_noticed_without_a_new_block() {
    let node = TestNode::with(10, 6).await;
    let mut follow = follow(&[&node], Mode::Head);
    expect(&mut follow, 1..=10, 0).await;
    node.state().grow(9..=10, 1, 0);
    let advance = step(&mut follow).await;
    assert_eq!((advance.block.id, advance.replaced.len()), (Some(id(9, 1)), 2));
    expect(&mut follow, 10..=10, 1).await;
}

#[tokio::test]
async fn a_fork_may_replace_the_very_first_block_that_was_said() {
    let node = TestNode::with(10, 6).await;
    let settings = Settings { start: Start::Head, ..settings(&[&node], Mode::Head) };
    let mut follow = Follow::new(&settings, None, 0).unwrap();
    expect(&mut follow, 10..=10, 0).await;
    node.state().grow(8..=11, 1, 0);
    let advance = step(&mut follow).await;
    assert_eq!((advance.block.id, advance.replaced.len()), (Some(id(10, 1)), 1));
    expect(&mut follow, 11..=11, 1).await;
}

#[tokio::test]
async fn a_fork_of_irreversible_blocks_is_another_chain() {
    let node = TestNode::with(10, 6).await;
    let mut follow = follow(&[&node], Mode::Head);
    expect(&mut follow, 1..=10, 0).await;
    node.state().grow(6..=12, 1, 0);
    expect_none(&mut follow, &node).await;
}

#[tokio::test]
async fn a_fork_during_our_absence_is_noticed_as_well() {
    let node = TestNode::with(10, 6).await;
    let mut first = follow(&[&node], Mode::Head);
    expect(&mut first, 1..=10, 0).await;
    let kept = serde_json::to_string(&first.position).unwrap();
    node.state().grow(9..=11, 1, 0);
    // Even if we come back content with irreversible blocks.
    node.state().irreversible = 11;
    for mode in [Mode::Head, Mode::Irreversible] {
        let position = serde_json::from_str(&kept).unwrap();
        let mut second = Follow::new(&settings(&[&node], mode), position, 100).unwrap();
        let advance = step(&mut second).await;
        assert_eq!((advance.block.id, advance.replaced.len()), (Some(id(9, 1)), 2));
        expect(&mut second, 10..=11, 1).await;
    }
}

#[tokio::test]
async fn goes_on_from_its_position_alone() {
    let node = TestNode::with(40, 40).await;
    let mut position = None;
    for number in 1..=40 {
        let mut follow = Follow::new(&settings(&[&node], Mode::Irreversible), position, 0).unwrap();
        expect(&mut follow, number..=number, 0).await;
        position = serde_json::from_str(&serde_json::to_string(&follow.position).unwrap()).unwrap();
    }
}

#[tokio::test]
async fn a_block_that_is_not_there_yet_is_waited_for() {
    let node = TestNode::with(10, 10).await;
    let late = node.state().blocks.remove(&7).unwrap();
    let mut follow = follow(&[&node], Mode::Irreversible);
    expect(&mut follow, 1..=6, 0).await;
    expect_none(&mut follow, &node).await;
    node.state().blocks.insert(7, late);
    expect(&mut follow, 7..=10, 0).await;
}

#[tokio::test]
async fn another_node_is_asked_for_a_block_that_is_not_there() {
    let nodes = [TestNode::with(10, 10).await, TestNode::with(10, 10).await];
    nodes[0].state().blocks.remove(&7);
    expect(&mut follow(&[&nodes[0], &nodes[1]], Mode::Irreversible), 1..=10, 0).await;
}

#[tokio::test]
async fn a_hole_is_passed_over_only_if_it_is_set_and_no_node_has_a_block() {
    let nodes = [TestNode::with(600, 600).await, TestNode::with(600, 600).await];
    for number in [7, 8, 9, 20].into_iter().chain(31..=500) {
        nodes[0].state().blocks.remove(&number);
        if number != 8 {
            nodes[1].state().blocks.remove(&number);
        }
    }
    let settings = Settings { skip_absent: true, ..settings(&[&nodes[0], &nodes[1]], Mode::Irreversible) };
    let mut follow = Follow::new(&settings, None, 0).unwrap();
    expect(&mut follow, 1..=6, 0).await;
    expect(&mut follow, 8..=8, 0).await;
    expect(&mut follow, 10..=19, 0).await;
    expect(&mut follow, 21..=30, 0).await;
    expect(&mut follow, 501..=600, 0).await;
    // Without the setting, it is waited for.
    let mut follow = super::Follow::new(&Settings { skip_absent: false, ..settings }, None, 0).unwrap();
    expect(&mut follow, 1..=6, 0).await;
    expect_none(&mut follow, &nodes[0]).await;
}

#[tokio::test]
async fn of_two_servers_behind_one_name_the_one_without_a_block_makes_no_hole() {
    for lacks in [&[][..], &["get_block_range"]] {
        let node = TestNode::with(20, 6).await;
        node.state().lacks.extend(lacks);
        let settings = Settings { skip_absent: true, ..settings(&[&node], Mode::Irreversible) };
        let mut follow = Follow::new(&settings, None, 0).unwrap();
        expect(&mut follow, 1..=6, 0).await;
        {
            let mut state = node.state();
            state.irreversible = 20;
            state.absent_once = (7..=20).collect();
        }
        expect(&mut follow, 7..=20, 0).await;
    }
}

#[tokio::test]
async fn virtual_operations_come_with_their_block() {
    let node = TestNode::with(9, 9).await;
    let settings = Settings { virtual_operations: true, ..settings(&[&node], Mode::Irreversible) };
    let mut follow = Follow::new(&settings, None, 0).unwrap();
    for number in 1..=9 {
        let advance = step(&mut follow).await;
        assert_eq!(advance.block.number, number);
        let kinds: Vec<_> = advance.virtual_operations.iter().map(|operation| &operation.op.kind).collect();
        assert_eq!(kinds, ["producer_reward_operation"]);
    }
}

#[tokio::test]
async fn control_bytes_that_are_not_escaped_are_content() {
    let node = TestNode::with(60, 60).await;
    node.state().fault = Fault::RawControl;
    let mut follow = follow(&[&node], Mode::Irreversible);
    for number in 1..=60 {
        let advance = step(&mut follow).await;
        assert_eq!(advance.block.number, number);
        for transaction in &advance.block.transactions {
            let vote: serde_json::Value =
                serde_json::from_str(transaction.operations[0].value.get()).unwrap();
            assert_eq!(vote["memo"], "a\u{3}b");
        }
    }
}

/// With virtual operations; the patience is that of `stall_timeout`.
fn follow_virtual(nodes: &[&TestNode], mode: Mode) -> Follow {
    Follow::new(&Settings { virtual_operations: true, ..settings(nodes, mode) }, None, 0).unwrap()
}

#[tokio::test]
async fn a_node_without_virtual_operations_is_not_believed_while_another_has_some() {
    let nodes = [TestNode::with(9, 9).await, TestNode::with(9, 9).await];
    nodes[0].state().virtual_up_to = Some(3);
    let mut follow = follow_virtual(&[&nodes[0], &nodes[1]], Mode::Irreversible);
    for _ in 1..=9 {
        let advance = step(&mut follow).await;
        assert_eq!((advance.virtual_operations.len(), advance.unconfirmed_by), (1, None));
    }
}

#[tokio::test]
async fn a_history_that_lags_is_waited_for() {
    let node = TestNode::with(9, 9).await;
    node.state().virtual_up_to = Some(3);
    let settings = settings(&[&node], Mode::Irreversible);
    let settings = Settings { virtual_operations: true, stall_timeout: DEADLINE, ..settings };
    let mut follow = Follow::new(&settings, None, 0).unwrap();
    for number in 1..=9 {
        if number > 3 {
            expect_none(&mut follow, &node).await;
            node.state().virtual_up_to = Some(number);
        }
        let advance = step(&mut follow).await;
        assert_eq!((advance.virtual_operations.len(), advance.unconfirmed_by), (1, None));
    }
}

#[tokio::test]
async fn what_no_node_has_ever_given_is_said_to_be_missing_and_waited_for_once() {
    let nodes = [TestNode::with(60, 60).await, TestNode::with(60, 60).await];
    for node in &nodes {
        node.state().virtual_up_to = Some(0);
    }
    let mut follow = follow_virtual(&[&nodes[0], &nodes[1]], Mode::Irreversible);
    for number in 1..=60 {
        let advance = step(&mut follow).await;
        assert!(advance.virtual_operations.is_empty() && advance.unconfirmed_by.is_some());
        // Later blocks are not waited for: a node that is left alone just now isn't asked.
        assert!(number != 1 || advance.unconfirmed_by == Some(2), "{advance:?}");
    }
}

#[tokio::test]
async fn a_history_that_has_given_some_is_waited_for_however_long_it_lags() {
    let nodes = [TestNode::with(20, 20).await, TestNode::with(20, 20).await];
    nodes.iter().for_each(|node| node.state().virtual_up_to = Some(3));
    let mut first = follow_virtual(&[&nodes[0], &nodes[1]], Mode::Irreversible);
    for _ in 1..=3 {
        assert_eq!(step(&mut first).await.virtual_operations.len(), 1);
    }
    // A new life knows nothing of what the last one was given.
    let settings =
        Settings { virtual_operations: true, ..settings(&[&nodes[0], &nodes[1]], Mode::Irreversible) };
    let second = Follow::new(&settings, first.position.clone(), 0).unwrap();
    for mut follow in [first, second] {
        let begun = Instant::now();
        while begun.elapsed() < 3 * settings.stall_timeout {
            expect_none(&mut follow, &nodes[0]).await;
        }
    }
    // Once its history has caught up, nothing is missing.
    nodes.iter().for_each(|node| node.state().virtual_up_to = None);
    let mut follow = Follow::new(&settings, None, 0).unwrap();
    for _ in 1..=20 {
        expect_virtual(&mut follow).await;
    }
}

#[tokio::test]
async fn nothing_is_believed_of_a_block_that_can_be_replaced() {
    let node = TestNode::with(10, 6).await;
    // As of the older form, which knows nothing of reversible blocks.
    node.state().virtual_up_to = Some(6);
    let mut follow = follow_virtual(&[&node], Mode::Head);
    for _ in 1..=6 {
        assert_eq!(step(&mut follow).await.virtual_operations.len(), 1);
    }
    // Block 9 has no operations of its own: its history looks whole.
    for number in [7, 8, 9] {
        expect_none(&mut follow, &node).await;
        expect_none(&mut follow, &node).await;
        node.state().irreversible = number;
        node.state().virtual_up_to = Some(number);
        let advance = step(&mut follow).await;
        assert_eq!((advance.virtual_operations.len(), advance.unconfirmed_by), (1, None));
    }
}

/// The next step has its virtual operation.
async fn expect_virtual(follow: &mut Follow) {
    let advance = step(follow).await;
    let number = advance.block.number;
    assert_eq!((advance.virtual_operations.len(), advance.unconfirmed_by), (1, None), "block {number}");
}

/// Methods that old nodes don't have: a block is proven to have none by the first of them alone.
const LACKS: [&[&str]; 2] = [&[], &["enum_virtual_ops"]];

#[tokio::test]
async fn a_block_that_has_none_is_said_without_and_marked() {
    for lacks in LACKS {
        let nodes = [TestNode::with(40, 40).await, TestNode::with(40, 40).await];
        for node in &nodes {
            node.state().without_virtual = BTreeSet::from([7, 8, 9]);
            node.state().lacks.extend(lacks);
        }
        let mut follow = follow_virtual(&[&nodes[0], &nodes[1]], Mode::Irreversible);
        for number in 1..=40 {
            let advance = step(&mut follow).await;
            let has_none = (7..=9).contains(&number);
            assert_eq!(advance.virtual_operations.len(), usize::from(!has_none), "{number}");
            assert_eq!(advance.unconfirmed_by, has_none.then_some(2), "{number}");
        }
    }
}

#[tokio::test]
async fn a_chain_on_which_some_blocks_have_none_is_not_waited_for_each_time() {
    for lacks in LACKS {
        let node = TestNode::with(100, 100).await;
        node.state().without_virtual = (1..=100).filter(|number| number % 4 != 0).collect();
        node.state().lacks.extend(lacks);
        let settings = settings(&[&node], Mode::Irreversible);
        let patience = Duration::from_secs(1);
        let settings = Settings { virtual_operations: true, stall_timeout: patience, ..settings };
        let mut follow = Follow::new(&settings, None, 0).unwrap();
        let begun = Instant::now();
        for number in 1..=100 {
            let advance = step(&mut follow).await;
            assert_eq!(advance.unconfirmed_by.is_none(), number % 4 == 0, "{number}");
        }
        assert!(begun.elapsed() < 15 * patience, "75 blocks without took {:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn of_two_servers_behind_one_name_the_one_that_lags_is_not_believed() {
    for lacks in LACKS {
        for first in [0, 1] {
            let node = TestNode::with(40, 40).await;
            node.state().lacks.extend(lacks);
            let mut follow = follow_virtual(&[&node], Mode::Irreversible);
            for number in 1..=40 {
                if number == 4 {
                    let mut state = node.state();
                    (state.laggard, state.turn) = (Some(3), first);
                }
                expect_virtual(&mut follow).await;
            }
        }
    }
}

#[tokio::test]
async fn a_history_that_begins_later_is_not_believed_while_another_node_cannot_be_asked() {
    for lacks in LACKS {
        let nodes = [TestNode::with(40, 40).await, TestNode::with(40, 40).await];
        nodes[1].state().virtual_from = 30;
        nodes[1].state().lacks.extend(lacks);
        let settings =
            Settings { virtual_operations: true, ..settings(&[&nodes[0], &nodes[1]], Mode::Irreversible) };
        let mut follow = Follow::new(&settings, None, 0).unwrap();
        for _ in 1..=3 {
            expect_virtual(&mut follow).await;
        }
        nodes[0].state().fault = Fault::Closed;
        let begun = Instant::now();
        while begun.elapsed() < 3 * settings.stall_timeout {
            expect_none(&mut follow, &nodes[1]).await;
        }
        let why = follow.why().borrow().clone();
        assert!(why.contains("no virtual operation of block 4 (yet); of 2 nodes 1 answer"), "{why}");
        nodes[0].state().fault = Fault::None;
        for _ in 4..=40 {
            expect_virtual(&mut follow).await;
        }
    }
}

#[tokio::test]
async fn what_lies_before_every_history_is_said_without_and_marked() {
    let nodes = [TestNode::with(40, 40).await, TestNode::with(40, 40).await];
    nodes.iter().for_each(|node| node.state().virtual_from = 30);
    let mut follow = follow_virtual(&[&nodes[0], &nodes[1]], Mode::Irreversible);
    for number in 1..=40 {
        let advance = step(&mut follow).await;
        assert_eq!(advance.virtual_operations.len(), usize::from(number >= 30));
        assert_eq!(advance.unconfirmed_by, (number < 30).then_some(2), "{number}");
    }
}

#[tokio::test]
async fn a_history_that_lags_is_waited_for_although_another_that_begins_later_is_ahead() {
    let nodes = [TestNode::with(40, 40).await, TestNode::with(40, 40).await];
    nodes[0].state().virtual_up_to = Some(3);
    nodes[1].state().virtual_from = 30;
    let settings =
        Settings { virtual_operations: true, ..settings(&[&nodes[0], &nodes[1]], Mode::Irreversible) };
    let mut follow = Follow::new(&settings, None, 0).unwrap();
    for _ in 1..=3 {
        expect_virtual(&mut follow).await;
    }
    let begun = Instant::now();
    while begun.elapsed() < 3 * settings.stall_timeout {
        expect_none(&mut follow, &nodes[0]).await;
    }
    nodes[0].state().virtual_up_to = None;
    for _ in 4..=40 {
        expect_virtual(&mut follow).await;
    }
}
