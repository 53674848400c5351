//! Faulty nodes, and every process killed over and over: nothing is missing, nothing comes twice.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rand::RngExt as _;
use testkit::{Running, data, free_port, python, seeded};

use crate::swarm::{Swarm, operations_in};

/// At least so many kills before everything has been said, and every process at least so often.
const KILLS_MIN: usize = 50;
const KILLS_EACH_MIN: usize = 6;

/// The pauses between kills. Short ones hit a process that has just been started.
const PAUSE_MAX: Duration = Duration::from_millis(800);

/// 1,954 blocks take half a minute at this pace.
const BLOCK_INTERVAL: &str = "14ms";

/// Much longer than it can take.
const RUN_MAX: Duration = Duration::from_secs(120);

/// What is wrong with each node. None is down for good, none is right all the time. Times count from its last start.
const FAULTS: [&str; 3] = [
    "http-502:p=0.05,slow:150ms:p=0.05,truncated:p=0.03,hang:p=0.01,stall:after=500ms:for=2s",
    "text:p=0.05,cut:p=0.05,rpc-lock:p=0.05,truncated-block:p=0.05,drop:p=0.03,wrong-chain:after=1s:for=1s",
    "http-503:p=0.01,rpc--32603:p=0.05,no-range:p=0.3,lag:1:p=0.2,behind:5:p=0.02,down:after=800ms:for=1s",
];

struct Member<'a> {
    name: String,
    start: Box<dyn Fn() -> Running + 'a>,
    running: Option<Running>,
    kills: usize,
}

impl<'a> Member<'a> {
    fn new(name: impl Into<String>, start: impl Fn() -> Running + 'a) -> Self {
        let running = Some(start());
        Self { name: name.into(), start: Box::new(start), running, kills: 0 }
    }

    /// SIGKILL, and started again at once. It must have been alive until now.
    fn kill(&mut self) {
        let mut running = self.running.take().unwrap();
        assert!(running.is_alive(), "{} ended by itself: {:?}", self.name, running.wait(Duration::ZERO));
        running.kill9();
        self.running = Some((self.start)());
        self.kills += 1;
    }
}

fn members<'a>(swarm: &'a Swarm, recording: &'a Path) -> Vec<Member<'a>> {
    let ports = FAULTS.map(|_| free_port());
    let mut members = Vec::new();
    for (index, (port, fault)) in ports.into_iter().zip(FAULTS).enumerate() {
        let instance = format!("hive-node@{}", index + 1);
        members.push(Member::new(instance.clone(), move || {
            let listen = format!("127.0.0.1:{port}");
            let recording = recording.to_str().unwrap();
            let mut arguments =
                vec!["run", "--instance", &instance, "--listen", &listen, "--recording", recording];
            arguments.extend(["--block-interval", BLOCK_INTERVAL, "--fault", fault]);
            Running::start(&swarm.home, "hive-node", &arguments)
        }));
    }
    let nodes = ports.map(|port| format!("http://127.0.0.1:{port}")).join(",");
    members.push(Member::new("broadcaster", move || {
        let mut command = swarm.broadcaster_of(&nodes);
        command.args(["--stall-timeout", "1s"]);
        // Small segments, so that kills also hit the change from one to the next.
        command.args(["--journal-segment-bytes", "256 KiB"]);
        swarm.spawn("broadcaster", command)
    }));
    members.push(Member::new("bot", || swarm.bot()));
    members.push(Member::new("transfer-watch", || swarm.watch()));
    members
}

fn pause(time: Duration) {
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        thread::park_timeout(left);
    }
}

#[test]
fn with_faulty_nodes_and_kills_nothing_is_missing_or_repeated() {
    let (Some(recording), Some(python)) = (data("hive-blocks.ndjson.gz"), python(&[])) else { return };
    let mut random = seeded("kills");
    let swarm = Swarm::new();
    let operations = operations_in(&python, &recording);
    let mut members = members(&swarm, &recording);

    let (begun, mut kills) = (Instant::now(), 0);
    while swarm.said("broadcaster") < operations {
        // Whoever it hits, but nobody is left out for long.
        let rarest = members.iter().map(|member| member.kills).min().unwrap_or_default();
        let hit: Vec<&mut Member> = members.iter_mut().filter(|member| member.kills <= rarest + 4).collect();
        let victim = random.random_range(0..hit.len());
        hit.into_iter().nth(victim).unwrap().kill();
        kills += 1;
        // A schedule, not a wait for something: what the processes are doing when it is over is up to chance.
        pause(PAUSE_MAX.mul_f64(random.random_range(0.0_f64..1.0).powi(2)));
        assert!(begun.elapsed() < RUN_MAX, "too slow: {} of {operations} said", swarm.said("broadcaster"));
    }
    let each: Vec<String> =
        members.iter().map(|member| format!("{} {}", member.name, member.kills)).collect();
    println!("{kills} kills in {:.1?}: {}", begun.elapsed(), each.join(", "));
    assert!(kills >= KILLS_MIN && members.iter().all(|member| member.kills >= KILLS_EACH_MIN));

    swarm.until_said("broadcaster", operations);
    swarm.until_heard("bot");
    swarm.until_heard("transfer-watch");
    drop(members);
    swarm.verify(&[]).assert_code(0);
    swarm.compare_all(&python, &recording);
    check_trouble(&swarm);
}

/// The faults and the kills were really met.
fn check_trouble(swarm: &Swarm) {
    let log = swarm.home.logs("broadcaster");
    let count = |text: &str| log.matches(text).count();
    let met = ["following another node", "HTTP 50", "JSON-RPC", "timed out", "connect"]
        .map(|text| (text, count(text)));
    println!("in the broadcaster's logs: {met:?}");
    assert!(count("following another node") >= 5);
    let epoch = swarm.tail("broadcaster").records().last().unwrap().epoch;
    assert!(epoch as usize > KILLS_EACH_MIN, "{epoch}");
}
