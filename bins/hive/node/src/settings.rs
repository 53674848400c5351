//! What can be set; each is a key in the configuration, an environment variable and a flag.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::faults::Fault;

/// A stand-in for a public Hive node.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct Settings {
    /// Where to answer HTTP; port 0 takes any free one (the log names it).
    #[schemars(with = "String")]
    pub(crate) listen: SocketAddr,
    /// Serve the blocks of this file (NDJSON, also gzip; a block a line, in either API's form) instead of generated ones.
    pub(crate) recording: Option<PathBuf>,
    /// Serve the recording under its own block numbers, with its holes, instead of as one chain from 1.
    pub(crate) as_recorded: bool,
    /// Time from block to block, such as 3s or 20ms; 0s: the whole recording is there at once.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub(crate) block_interval: Duration,
    /// How many blocks the last irreversible one is behind the head.
    pub(crate) irreversible_lag: u32,
    /// The generated chain is a function of this number.
    pub(crate) seed: u64,
    /// Faults from the start: each a KIND or KIND:ARGUMENT, then options such as :p=PROBABILITY, :times=N, :method=M,
    /// :after=TIME, :for=TIME. Kinds: down, drop, hang, slow:TIME, http-STATUS, text, truncated, cut, rpc-lock, rpc-CODE,
    /// stall, stall:BLOCK, behind:N, lag:N, fork:N, wrong-chain, truncated-block, no-range. For example http-502:p=0.2 or
    /// down:after=10s:for=5s. More come and go by calls of io.procession.hive.Node.
    pub(crate) fault: Vec<Fault>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8091)),
            recording: None,
            as_recorded: false,
            block_interval: Duration::from_secs(3),
            irreversible_lag: 2,
            seed: 20_160_324,
            fault: Vec::new(),
        }
    }
}
