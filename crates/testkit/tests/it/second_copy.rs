//! A second copy of a process.

use testkit::DEADLINE;

use crate::blocks;
use crate::swarm::Swarm;

#[test]
fn a_second_copy_is_refused_and_the_first_goes_on() {
    let swarm = Swarm::new();
    let recording = blocks::write(swarm.home.path(), 300);
    let _node = swarm.node(&recording, &["--block-interval", "10ms"]);
    let (mut broadcaster, mut bot) = (swarm.broadcaster(), swarm.bot());
    swarm.until_said("broadcaster", 10);
    swarm.until_ready("bot");

    for (first, second) in [(&mut broadcaster, swarm.broadcaster()), (&mut bot, swarm.bot())] {
        let name = first.name().to_owned();
        let ended = second.wait(DEADLINE);
        let holder = format!("process {}", first.pid());
        ended.assert_code(1).assert_says(&["in use by", &holder, "instance name"]);
        assert!(first.is_alive());
        // The socket is still the first one's.
        let status = swarm.status(&name).expect("the first copy answers");
        assert_eq!(status["pid"], first.pid());
    }
    swarm.until_said("broadcaster", blocks::operations(300));
    swarm.until_heard("bot");
    swarm.verify(&[]).assert_code(0);
}

/// Under another instance name it is a process of its own.
#[test]
fn a_copy_under_another_name_has_state_of_its_own() {
    let swarm = Swarm::new();
    let recording = blocks::write(swarm.home.path(), 50);
    let (_node, _broadcaster, _bot) = (swarm.node(&recording, &[]), swarm.broadcaster(), swarm.bot());
    let other = swarm.home.command("bot", &["run", "--instance", "bot@2"]);
    let _other = swarm.spawn("bot@2", other);
    swarm.until_said("broadcaster", blocks::operations(50));
    for instance in ["bot", "bot@2"] {
        swarm.until_heard(instance);
        assert_eq!(swarm.said(instance), 40, "{instance}");
    }
}
