//! nats-server on loopback, for NATS core and JetStream.

use std::fmt::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use crate::contender::Missing;
use crate::server::{Server, free_port, version_of};
use crate::work::Durability;

/// Its address and its process.
pub(super) struct NatsServer {
    pub(super) url: String,
    pub(super) server: Server,
}

pub(super) fn version() -> Result<String, Missing> {
    version_of("nats-server", &["--version"])
}

/// Starts one; with a durability, its JetStream stores files in the folder.
pub(super) fn start(folder: &Path, durability: Option<Durability>) -> anyhow::Result<NatsServer> {
    let port = free_port()?;
    let mut config = format!("listen: \"127.0.0.1:{port}\"\nmax_pending: 1GB\n");
    if let Some(durability) = durability {
        let interval = match durability {
            // Its own default.
            Durability::Never => "2m",
            Durability::EverySecond => "1s",
            Durability::Always => "always",
        };
        let store = folder.join("store");
        writeln!(
            config,
            "jetstream {{ store_dir: {:?}, sync_interval: {interval}, max_file_store: 64GB }}",
            store.display().to_string()
        )?;
    }
    let path = folder.join("nats.conf");
    std::fs::write(&path, config)?;
    let mut command = Command::new("nats-server");
    command.arg("--config").arg(&path);
    let server = Server::start(&mut command, folder, || TcpStream::connect(("127.0.0.1", port)).is_ok())?;
    Ok(NatsServer { url: format!("nats://127.0.0.1:{port}"), server })
}
