//! A full disk under the broadcaster and under a bot.

use testkit::{DEADLINE, Running, Tmpfs, python, wait_until};

use crate::blocks;
use crate::swarm::Swarm;

const SEGMENT: &str = "256 KiB";
const BLOCKS: u32 = 600;

fn broadcaster(swarm: &Swarm) -> Running {
    let mut command = swarm.broadcaster_command();
    command.args(["--journal-segment-bytes", SEGMENT]);
    swarm.spawn("broadcaster", command)
}

/// The thread that makes segments ahead misses the room first: what is left of the newest segment is said before.
fn until_stuck(swarm: &Swarm) {
    let waits =
        |status: serde_json::Value| status["waiting"].as_array().is_some_and(|waits| !waits.is_empty());
    testkit::wait_until(DEADLINE, "the broadcaster waits", || swarm.status("broadcaster").is_some_and(waits));
}

/// While there is no room the broadcaster waits; it answers, says why, and loses nothing.
#[test]
fn a_full_disk_holds_the_broadcaster_up_and_nothing_is_lost() {
    let (swarm, python) = (Swarm::new(), python(&[]));
    let Some(disk) = Tmpfs::mount(&swarm.home.instance("broadcaster"), 16 << 20) else { return };
    let recording = blocks::write(swarm.home.path(), BLOCKS);
    let _node = swarm.node(&recording, &["--block-interval", "5ms"]);
    let mut broadcaster = broadcaster(&swarm);
    let (bot, watch) = (swarm.bot(), swarm.watch());
    swarm.until_said("broadcaster", 100);

    let ballast = disk.fill();
    broadcaster.wait_for_log(DEADLINE, "no room");
    until_stuck(&swarm);
    let stuck = swarm.said("broadcaster");
    assert!(stuck < blocks::operations(BLOCKS), "the disk was full too late");
    assert!(broadcaster.is_alive());
    swarm.until_heard("bot");
    let status = swarm.status("broadcaster").expect("it answers");
    assert_eq!((&status["state"], status["committed"].as_u64()), (&"ready".into(), Some(stuck)));
    swarm.verify(&["broadcaster"]).assert_code(0);

    ballast.remove();
    broadcaster.wait_for_log(DEADLINE, "there is room again");
    swarm.until_said("broadcaster", blocks::operations(BLOCKS));
    swarm.until_heard("bot");
    swarm.until_heard("transfer-watch");
    swarm.verify(&[]).assert_code(0);
    if let Some(python) = python {
        swarm.compare_all(&python, &recording);
    }
    drop((broadcaster, bot, watch));
}

/// Killed while it waits for room, and started again while there is none: a clear error, and nothing is lost.
#[test]
fn killed_on_a_full_disk_it_goes_on_once_there_is_room() {
    let (swarm, python) = (Swarm::new(), python(&[]));
    let Some(disk) = Tmpfs::mount(&swarm.home.instance("broadcaster"), 16 << 20) else { return };
    let recording = blocks::write(swarm.home.path(), BLOCKS);
    let _node = swarm.node(&recording, &["--block-interval", "5ms"]);
    let mut first = broadcaster(&swarm);
    swarm.until_said("broadcaster", 100);
    let ballast = disk.fill();
    first.wait_for_log(DEADLINE, "no room");
    until_stuck(&swarm);
    let stuck = swarm.said("broadcaster");
    first.kill9();

    // It may wait again, or end and say why; it must do one of them, and lose nothing.
    let mut second = broadcaster(&swarm);
    wait_until(DEADLINE, "it waits for room, or ends", || {
        !second.is_alive() || second.stderr().contains("no room")
    });
    if !second.is_alive() {
        second.wait(DEADLINE).assert_code(1).assert_says(&["no room"]);
    } else {
        second.kill9();
    }
    assert_eq!(swarm.said("broadcaster"), stuck);

    ballast.remove();
    let _third = broadcaster(&swarm);
    let (_bot, _watch) = (swarm.bot(), swarm.watch());
    swarm.until_said("broadcaster", blocks::operations(BLOCKS));
    swarm.until_heard("bot");
    swarm.until_heard("transfer-watch");
    swarm.verify(&[]).assert_code(0);
    if let Some(python) = python {
        swarm.compare_all(&python, &recording);
    }
}

/// A bot can't acknowledge what it can't announce: restarted by its process manager until there is room, it
/// announces each post once.
#[test]
fn a_full_disk_under_a_bot_costs_no_announcement() {
    let (swarm, python) = (Swarm::new(), python(&[]));
    let Some(disk) = Tmpfs::mount(&swarm.home.instance("bot"), 4 << 20) else { return };
    let recording = blocks::write(swarm.home.path(), BLOCKS);
    let _node = swarm.node(&recording, &["--block-interval", "5ms"]);
    let (_broadcaster, _watch) = (swarm.broadcaster(), swarm.watch());
    // A segment holds some fifty announcements, and the next one isn't prepared before it is half full.
    let start = || Running::start(&swarm.home, "bot", &["run", "--journal-segment-bytes", "16 KiB"]);
    let mut bot = start();
    swarm.until_said("bot", 10);
    let ballast = disk.fill();
    swarm.until_said("broadcaster", blocks::operations(BLOCKS));
    wait_until(DEADLINE, "the bot is full", || !bot.is_alive() || bot.stderr().contains("no room"));
    let announced = swarm.said("bot");
    assert!(announced < 480, "the disk was full too late");
    if !bot.is_alive() {
        bot.wait(DEADLINE).assert_code(1).assert_says(&["no room"]);
        // As its process manager would.
        for _ in 0..7 {
            let mut bot = start();
            wait_until(DEADLINE, "the bot is full", || !bot.is_alive() || bot.stderr().contains("no room"));
        }
    }
    ballast.remove();
    let _bot = start();
    swarm.until_heard("bot");
    swarm.until_heard("transfer-watch");
    swarm.verify(&[]).assert_code(0);
    if let Some(python) = python {
        swarm.compare_all(&python, &recording);
    }
}
