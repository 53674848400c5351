//! redis-server on a Unix socket, for pub/sub and Streams.

use std::path::Path;
use std::process::Command;

use redis::Pipeline;

use crate::contender::Missing;
use crate::member::{Part, Source};
use crate::server::{Server, version_of};
use crate::work::{Durability, Work};

/// Commands in one pipeline, where nothing asks for less.
const PIPELINE: usize = 64;

pub(super) struct RedisServer {
    pub(super) url: String,
    pub(super) server: Server,
}

pub(super) fn version() -> Result<String, Missing> {
    let line = version_of("redis-server", &["--version"])?;
    Ok(line.split_whitespace().find(|word| word.starts_with("v=")).unwrap_or(&line).replace("v=", "redis "))
}

/// Starts one; with a durability, it appends what it is told to a file.
pub(super) fn start(folder: &Path, durability: Option<Durability>) -> anyhow::Result<RedisServer> {
    let socket = folder.join("redis.sock");
    let mut command = Command::new("redis-server");
    command
        .args(["--port", "0", "--save", "", "--unixsocket"])
        .arg(&socket)
        .arg("--dir")
        .arg(folder)
        // A slow subscriber would be thrown out otherwise.
        .args(["--client-output-buffer-limit", "pubsub 0 0 0"]);
    if let Some(durability) = durability {
        let policy = match durability {
            Durability::Never => "no",
            Durability::EverySecond => "everysec",
            Durability::Always => "always",
        };
        command.args(["--appendonly", "yes", "--appendfsync", policy]);
    } else {
        command.args(["--appendonly", "no"]);
    }
    let url = format!("unix://{}", socket.display());
    let server = Server::start(&mut command, folder, || is_up(&url))?;
    Ok(RedisServer { url, server })
}

fn is_up(url: &str) -> bool {
    connect(url).and_then(|mut connection| redis::cmd("PING").query::<String>(&mut connection)).is_ok()
}

pub(super) fn connect(url: &str) -> redis::RedisResult<redis::Connection> {
    redis::Client::open(url)?.get_connection()
}

/// Sends all messages, each as the command that `say` adds to a pipeline.
pub(super) fn publish(
    part: &Part,
    source: &mut Source,
    say: impl Fn(&mut Pipeline, &[u8]),
) -> anyhow::Result<()> {
    let mut connection = connect(&part.address)?;
    source.ready()?;
    let window = pipeline(part);
    let mut commands = Pipeline::with_capacity(window);
    while let Some(message) = source.next() {
        say(&mut commands, message);
        commands.ignore();
        if commands.len() == window {
            commands.query::<()>(&mut connection)?;
            commands.clear();
        }
    }
    // An empty pipeline is an error.
    if !commands.is_empty() {
        commands.query::<()>(&mut connection)?;
    }
    source.said()
}

/// How many commands go out together and are waited for together: with `Always`, so many publishers that wait at
/// the same time, in the form that suits Redis best.
fn pipeline(part: &Part) -> usize {
    match part.task.work {
        Work::Latency { .. } => 1,
        Work::Durable { durability: Durability::Always, waiting, .. } => {
            usize::try_from(waiting).unwrap_or(1).max(1)
        }
        _ => PIPELINE,
    }
}
