//! The soak from beginning to end.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::signal::unix::{SignalKind, signal};

use crate::Args;
use crate::check::Checker;
use crate::plot;
use crate::sampler::Sampler;
use crate::summary::Summary;
use crate::swarm::{INSTANCES, Swarm, VICTIMS};

/// Between two looks at the journals.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long everybody may take to start, and at the end to deal with everything.
const DRAINED_WITHIN: Duration = Duration::from_secs(60);
/// How often it is said how things go.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// A process that was killed, and when: seconds since the beginning.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kill {
    pub(crate) at: f64,
    pub(crate) instance: &'static str,
}

/// Runs it, and returns whether everything was flat and nothing was lost.
pub(crate) fn soak(args: &Args) -> Result<bool> {
    let seed = args.seed.unwrap_or_else(rand::random);
    println!(
        "soak: {:?} at {} items/s, a kill every {:?}, --seed {seed}",
        args.time, args.rate, args.kill_every
    );
    fs::create_dir_all(&args.out).with_context(|| format!("can't create {}", args.out.display()))?;
    let interrupted = watch_for_signals()?;
    let mut swarm = Swarm::start(args)?;
    let mut checker = Checker::default();
    wait_until_all_speak(&mut swarm, &mut checker)?;
    let mut sampler = Sampler::create(&args.out.join("samples.csv"))?;
    let begun = Instant::now();
    let kills = load(args, &mut swarm, &mut checker, &mut sampler, seed, begun, &interrupted)?;
    let time = begun.elapsed();
    finish(&mut swarm, &mut checker)?;
    let summary = Summary::new(args, time, &sampler.samples, &kills, &checker);
    summary.write(&args.out)?;
    let picture = args.out.join("soak.svg");
    plot::draw(&picture, &sampler.samples, &kills, &summary)?;
    print!("{summary}");
    println!("samples.csv, summary.txt, summary.json and soak.svg are in {}", args.out.display());
    Ok(summary.is_good())
}

/// Constant load, until the time is over or somebody presses Ctrl-C.
fn load(
    args: &Args,
    swarm: &mut Swarm,
    checker: &mut Checker,
    sampler: &mut Sampler,
    seed: u64,
    begun: Instant,
    interrupted: &AtomicBool,
) -> Result<Vec<Kill>> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut kills = Vec::new();
    let (mut next_sample, mut next_kill, mut next_word) =
        (begun, begun + args.kill_every, begun + TELL_EVERY);
    while begun.elapsed() < args.time && !interrupted.load(Ordering::Relaxed) {
        checker.catch_up(swarm)?;
        swarm.check_alive()?;
        let now = Instant::now();
        if now >= next_sample {
            sampler.take(swarm, begun)?;
            next_sample = (next_sample + args.sample_every).max(now);
        }
        if !args.kill_every.is_zero() && now >= next_kill {
            let instance = VICTIMS[random.random_range(0..VICTIMS.len())];
            swarm.restart(instance)?;
            kills.push(Kill { at: begun.elapsed().as_secs_f64(), instance });
            next_kill += args.kill_every;
        }
        if now >= next_word {
            let (records, faults) = (checker.records(), checker.faults_count);
            println!(
                "{:>6} s: {records} records, {} kills, {faults} faults",
                begun.elapsed().as_secs(),
                kills.len()
            );
            next_word += TELL_EVERY;
        }
        thread::park_timeout(LOOK_EVERY);
    }
    Ok(kills)
}

fn wait_until_all_speak(swarm: &mut Swarm, checker: &mut Checker) -> Result<()> {
    let begun = Instant::now();
    let speaks = |swarm: &Swarm, instance| {
        journal::read_marks(&swarm.folder(instance)).ok().flatten().is_some_and(|marks| marks.committed.0 > 0)
    };
    while !INSTANCES.iter().all(|instance| speaks(swarm, instance)) {
        swarm.check_alive()?;
        checker.catch_up(swarm)?;
        anyhow::ensure!(begun.elapsed() < DRAINED_WITHIN, "not everybody speaks after {DRAINED_WITHIN:?}");
        thread::park_timeout(LOOK_EVERY);
    }
    Ok(())
}

/// Stops the load, lets everybody deal with everything, and looks at every byte.
fn finish(swarm: &mut Swarm, checker: &mut Checker) -> Result<()> {
    swarm.stop("source@1")?;
    swarm.stop("source@2")?;
    let begun = Instant::now();
    loop {
        checker.catch_up(swarm)?;
        if checker.is_drained() {
            break;
        }
        if begun.elapsed() > DRAINED_WITHIN {
            checker.fault(format!("not everything was heard {DRAINED_WITHIN:?} after the load ended"));
            break;
        }
        thread::park_timeout(LOOK_EVERY);
    }
    for instance in &INSTANCES[2..] {
        swarm.stop(instance)?;
    }
    for instance in INSTANCES {
        let report = journal::verify(&swarm.folder(instance))?;
        for damage in report.damage {
            checker.fault(format!("{instance}: {} up to {}: {}", damage.from, damage.to, damage.reason));
        }
    }
    Ok(())
}

/// The first Ctrl-C, SIGTERM or SIGHUP ends the load, the second the program.
fn watch_for_signals() -> Result<Arc<AtomicBool>> {
    let told = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&told);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listen = |kind| runtime.block_on(async { signal(kind) });
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hangup = listen(SignalKind::hangup())?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hangup.recv() => {}
                }
                if seen.swap(true, Ordering::Relaxed) {
                    // The processes end with this one.
                    std::process::exit(130);
                }
                eprintln!("ending early; once more to end at once");
            }
        });
    })?;
    Ok(told)
}
