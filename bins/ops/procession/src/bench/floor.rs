//! The floor: two processes and a blocking Unix socket.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::Context as _;
use hdrhistogram::Histogram;
use serde::Serialize;

use super::member::Home;
use super::probe::{self, now_ns};
use super::report::nanoseconds;

pub(super) const NAME: &str = "bench-echo";

/// Half of a round trip in microseconds.
#[derive(Debug, Serialize)]
pub(super) struct HalfRoundTrip {
    p50: f64,
    p99: f64,
}

/// Round trips back to back, as a ping-pong is usually measured. Whether the two sides share a core or not is the
/// scheduler's choice, and makes a difference of five times on some machines.
pub(super) fn back_to_back(home: &Home, bytes: u32, count: u64) -> anyhow::Result<HalfRoundTrip> {
    measure(home, bytes, count.min(20_000), None)
}

/// Round trips at the pace of the latency measurement: the way there finds the other side asleep and its caches cold,
/// the way back does not.
pub(super) fn paced(home: &Home, bytes: u32, count: u64, pause: Duration) -> anyhow::Result<HalfRoundTrip> {
    measure(home, bytes, count, Some(pause))
}

fn measure(home: &Home, bytes: u32, count: u64, pause: Option<Duration>) -> anyhow::Result<HalfRoundTrip> {
    let path = home.path().join("floor.sock");
    let listener =
        UnixListener::bind(&path).with_context(|| format!("cannot listen at {}", path.display()))?;
    let this = std::env::current_exe().context("cannot find this executable")?;
    let mut echo = Command::new(this).arg0(NAME).arg(&path).arg(bytes.to_string()).spawn()?;
    let (mut stream, _) = listener.accept()?;
    let mut message = vec![7; usize::try_from(bytes)?];
    let mut times = nanoseconds();
    for _ in 0..count {
        if let Some(pause) = pause {
            probe::pause(pause);
        }
        let before = now_ns();
        stream.write_all(&message)?;
        stream.read_exact(&mut message)?;
        times.saturating_record((now_ns() - before) / 2);
    }
    drop(stream);
    echo.wait()?;
    std::fs::remove_file(&path)?;
    Ok(HalfRoundTrip { p50: at(&times, 0.5), p99: at(&times, 0.99) })
}

#[expect(clippy::cast_precision_loss, reason = "times are far below 2^53 ns")]
fn at(times: &Histogram<u64>, quantile: f64) -> f64 {
    times.value_at_quantile(quantile) as f64 / 1000.0
}

/// The other side: sends back what it gets, until the connection ends.
pub(super) fn echo() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(path), Some(Ok(bytes))) =
        (arguments.next(), arguments.next().map(|text| text.parse::<usize>()))
    else {
        return ExitCode::from(2);
    };
    let Ok(mut stream) = UnixStream::connect(path) else { return ExitCode::FAILURE };
    let mut message = vec![0; bytes];
    while stream.read_exact(&mut message).is_ok() && stream.write_all(&message).is_ok() {}
    ExitCode::SUCCESS
}
