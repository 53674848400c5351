//! redis-server on a Unix socket, for pub/sub and Streams.

use std::path::Path;
use std::process::Command;

use crate::contender::Missing;
use crate::member::Part;
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

/// How many commands go out together and are waited for together: with `Always`, so many publishers that wait at
/// the same time, in the form that suits Redis best.
pub(super) fn pipeline(part: &Part) -> usize {
    match part.task.work {
        Work::Latency { .. } => 1,
        Work::Durable { durability: Durability::Always, waiting, .. } => {
            usize::try_from(waiting).unwrap_or(1).max(1)
        }
        _ => PIPELINE,
    }
}
