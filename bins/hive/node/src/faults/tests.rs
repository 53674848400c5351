use std::time::Duration;

use jiff::Timestamp;

use super::*;
use crate::chain::{Branch, Chain};
use crate::settings::Settings;

struct World {
    chain: Chain,
    set: FaultSet,
    now: Timestamp,
}

impl World {
    /// A chain with a block each second, at block 100, of which the last ten are reversible.
    fn new() -> Self {
        let genesis: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let block_interval = Duration::from_secs(1);
        let settings = Settings { block_interval, irreversible_lag: 10, ..Settings::default() };
        let (chain, _) = Chain::open(&settings, None, genesis).unwrap();
        Self { chain, set: FaultSet::new(7), now: genesis + Duration::from_secs(99) }
    }

    fn add(&mut self, fault: &str) -> u32 {
        self.set.add(fault.parse().unwrap(), self.now).unwrap()
    }

    fn after(&mut self, seconds: u64) -> Vec<Branch> {
        self.now += Duration::from_secs(seconds);
        self.set.advance(self.now, &self.chain, &[])
    }

    fn transport(&mut self) -> Option<Transport> {
        self.set.effects("block_api.get_block").transport
    }
}

#[test]
fn they_begin_and_end_in_time() {
    let mut world = World::new();
    world.add("text:after=5s:for=3s");
    world.after(4);
    assert_eq!(world.transport(), None);
    world.after(1);
    assert_eq!(world.transport(), Some(Transport::Text));
    world.after(2);
    assert_eq!(world.transport(), Some(Transport::Text));
    world.after(1);
    assert_eq!(world.transport(), None);
    assert_eq!(world.set.list(), []);
}

#[test]
fn they_are_counted() {
    let mut world = World::new();
    let id = world.add("hang:times=2");
    world.after(0);
    assert_eq!(world.set.list(), [Listed { id, fault: "hang:times=2".into(), on: true, fired: 0 }]);
    assert_eq!(
        [(); 4].map(|()| world.transport()),
        [Some(Transport::Hang), Some(Transport::Hang), None, None]
    );
    assert_eq!(world.set.list()[0].fired, 2);
    world.after(0);
    assert_eq!(world.set.list(), []);
}

#[test]
fn chances_are_about_right_and_the_same_each_time() {
    let draw = || {
        let mut world = World::new();
        world.add("http-502:0.2");
        world.after(0);
        (0..1000).map(|_| world.transport().is_some()).collect::<Vec<_>>()
    };
    let hits = draw().iter().filter(|hit| **hit).count();
    assert!((150..250).contains(&hits), "{hits}");
    assert_eq!(draw(), draw());
}

#[test]
fn they_add_up() {
    let mut world = World::new();
    for fault in ["slow:10ms", "slow:200ms", "rpc-lock", "rpc-1000", "lag:2", "behind:5"] {
        world.add(fault);
    }
    world.after(0);
    let effects = world.set.effects("block_api.get_block");
    assert_eq!(effects.delay, Duration::from_millis(200));
    assert_eq!(effects.rpc, Some((RpcCode::Lock, None)));
    assert_eq!((effects.lag, effects.behind), (2, 5));
}

#[test]
fn a_fork_replaces_reversible_blocks_only() {
    let mut world = World::new();
    world.add("fork:4");
    let [branch] = world.after(0)[..] else { panic!("one fork") };
    assert_eq!((branch.from, branch.to), (97, 100));
    assert_eq!(world.set.list(), [], "it is part of the chain now");
    world.add("fork:50");
    let [deep] = world.after(0)[..] else { panic!("one fork") };
    assert_eq!((deep.from, deep.to), (91, 100));
    assert_ne!(branch.salt, deep.salt);
}

#[test]
fn a_fork_that_loses_is_undone() {
    let mut world = World::new();
    world.add("fork:4:for=5s");
    assert_eq!(world.after(0), []);
    let [branch] = world.set.effects("block_api.get_block").branches[..] else { panic!("one fork") };
    assert_eq!((branch.from, branch.to), (97, 100));
    world.after(4);
    assert_eq!(world.set.standing().branches, [branch]);
    world.after(1);
    assert_eq!(world.set.standing(), Effects::default());
}

#[test]
fn down_says_when_it_changes() {
    let mut world = World::new();
    assert_eq!((world.set.down(), world.set.next_down_change(world.now)), (false, None));
    world.add("down:after=2s:for=3s");
    let begins = world.now + Duration::from_secs(2);
    assert_eq!((world.set.down(), world.set.next_down_change(world.now)), (false, Some(begins)));
    world.after(2);
    let ends = begins + Duration::from_secs(3);
    assert_eq!((world.set.down(), world.set.next_down_change(world.now)), (true, Some(ends)));
    world.after(3);
    assert!(!world.set.down());
}

#[test]
fn they_can_be_cleared_and_are_not_without_number() {
    let mut world = World::new();
    let (first, _) = (world.add("text"), world.add("drop"));
    assert_eq!(world.set.clear(Some(first)), 1);
    assert_eq!(world.set.clear(Some(first)), 0);
    assert_eq!(world.set.clear(None), 1);
    for _ in 0..256 {
        world.add("text");
    }
    let error = world.set.add("text".parse().unwrap(), world.now).unwrap_err();
    assert!(error.to_string().contains("clear some"));
}
