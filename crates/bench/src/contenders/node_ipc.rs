//! node-ipc 9.x: JSON events over a Unix socket between two Node.js programs, which lie in `peers/`.

use std::path::PathBuf;

use crate::contender::{Contender, Missing, Place, Promises};
use crate::crew::Stage;
use crate::member::Role;
use crate::server::version_of;
use crate::work::{Measured, Task, Work};

const NAME: &str = "node-ipc";

#[derive(Debug)]
pub(crate) struct NodeIpc;

impl Contender for NodeIpc {
    fn name(&self) -> &'static str {
        NAME
    }

    fn promises(&self) -> Promises {
        let settings =
            "Unix socket, JSON events, broadcast of 64 KiB at a time, the next when these are sent";
        Promises { settings: settings.into(), lossless: true, replays: false, durable: false }
    }

    fn version(&self, _: &Place<'_>) -> Result<String, Missing> {
        let node = version_of("node", &["--version"])?;
        let modules = modules();
        let package = modules.join("node-ipc/package.json");
        let text = std::fs::read_to_string(&package).map_err(|_| {
            Missing(format!("{} isn't there: run `deploy/setup bench-peers`", package.display()))
        })?;
        let package: serde_json::Value =
            serde_json::from_str(&text).map_err(|error| Missing(error.to_string()))?;
        Ok(format!("node-ipc {}, node {node}", package["version"].as_str().unwrap_or("?")))
    }

    fn offers(&self, work: Work) -> bool {
        matches!(work, Work::Throughput { .. } | Work::Latency { spin: false, .. })
    }

    fn run(&self, task: &Task, place: &Place<'_>) -> anyhow::Result<Measured> {
        let folder = super::folder(place)?;
        let address = folder.path().join("socket").display().to_string();
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("peers/member.js");
        let program = ["env".to_owned(), format!("NODE_PATH={}", modules().display())];
        let program = program.into_iter().chain(["node".to_owned(), script.display().to_string()]).collect();
        Stage { contender: NAME, address, first: Role::Publisher, server: None, program: Some(program) }
            .perform(task)
    }
}

/// Where `deploy/setup bench-peers` puts it.
fn modules() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../.tools/node-ipc/node_modules")
}
