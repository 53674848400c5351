//! A process that says its settings and then behaves as it is told: well, or badly. The tests of the
//! command line, the configuration and the signals drive it as a real process.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use procession::{Process, Program};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Settings {
    /// Node URLs, tried in order.
    nodes: Vec<String>,
    /// Time between two blocks.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    block_interval: Duration,
    /// Where to begin: "first", "head", or the number of a block.
    start: Start,
    /// Amounts per asset above which a transfer is large.
    thresholds: BTreeMap<String, u64>,
    /// Port of the server.
    port: u16,
    /// A free remark.
    label: Option<String>,
    /// How to try again.
    retry: Retry,
    /// Speak up.
    loud: bool,
    /// What to do once started.
    behaviour: Behaviour,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Start {
    Named(Named),
    Block(u64),
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Named {
    First,
    Head,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Retry {
    /// Most attempts.
    max_attempts: u32,
    /// Pause between them, in seconds.
    pause: f64,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Behaviour {
    /// Waits until it is told to stop.
    Wait,
    /// Ends by itself.
    Finish,
    /// Fails with a cause.
    Fail,
    /// Breaks an invariant.
    Panic,
    /// Breaks an invariant in a task of its own.
    PanicInTask,
    /// Hears that it is to stop, and goes on.
    Linger,
    /// Blocks its thread.
    Hang,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            nodes: vec!["http://localhost:8091".to_owned()],
            block_interval: Duration::from_secs(3),
            start: Start::Named(Named::First),
            thresholds: [("HIVE".to_owned(), 1000), ("HBD".to_owned(), 500)].into(),
            port: 8080,
            label: None,
            retry: Retry::default(),
            loud: false,
            behaviour: Behaviour::Wait,
        }
    }
}

impl Default for Retry {
    fn default() -> Retry {
        Retry { max_attempts: 3, pause: 0.5 }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the work could not be done")]
struct Failure(#[source] io::Error);

fn main() -> ExitCode {
    Program::new("sample").about("Says its settings, then behaves as told.").version("1.2.3").run(app)
}

async fn app(process: Process<Settings>) -> Result<(), Failure> {
    let text = serde_json::to_string(process.settings()).expect("settings serialise");
    writeln!(io::stdout(), "{text}").map_err(Failure)?;
    // A process is ready when its application waits for the first time.
    tokio::task::yield_now().await;
    match process.settings().behaviour {
        Behaviour::Wait => process.shutdown().cancelled().await,
        Behaviour::Finish => {}
        Behaviour::Fail => return Err(Failure(io::Error::other("the far end is gone"))),
        Behaviour::Panic => panic!("one and one was three"),
        Behaviour::PanicInTask => match tokio::spawn(async { panic!("one and one was four") }).await {
            Ok(never) => never,
            Err(_) => unreachable!("the panic has ended the process"),
        },
        Behaviour::Linger => std::future::pending().await,
        Behaviour::Hang => {
            let _: Infallible = hang();
        }
    }
    Ok(())
}

fn hang() -> Infallible {
    loop {
        std::thread::park();
    }
}
