//! What can be set.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The screens of all lanes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct Settings {
    /// Where to answer HTTP; port 0 takes any free one (the log names it).
    #[schemars(with = "String")]
    pub(crate) listen: SocketAddr,
    /// Host names under which browsers may ask for it, besides that of the machine itself (localhost).
    pub(crate) hosts: Vec<String>,
    /// Whether whoever can reach it may use every lane. Otherwise a lane's screen is opened by the lane's address in the
    /// file `screens` of the process's folder, which has a token.
    pub(crate) open: bool,
    /// Most connections at a time; at the bound the one that has been silent for longest is closed.
    pub(crate) connections_max: NonZeroU32,
    /// A connection that sends half a request, or none, or takes no answer, is closed after so long.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub(crate) idle_timeout: Duration,
    /// How many lanes there are; they are numbered from 1.
    pub(crate) lanes: NonZeroU32,
    /// How often to ask the other processes how things stand, while somebody looks.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub(crate) look_every: Duration,
    /// How long another process may take to tell how things stand before it is shown as not available.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub(crate) look_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            listen: SocketAddr::from(([127, 0, 0, 1], 8092)),
            hosts: Vec::new(),
            open: false,
            connections_max: NonZeroU32::new(256).expect("256 is not 0"),
            idle_timeout: Duration::from_secs(10),
            lanes: NonZeroU32::new(8).expect("8 is not 0"),
            look_every: Duration::from_millis(400),
            look_timeout: Duration::from_millis(800),
        }
    }
}
