//! Development only: temporary homes, real processes, kill -9, torn files, wait-until.
//!
//! Tests of the whole swarm run the programs that were built, each in a [`Home`] of its own, and watch them from
//! outside: by their exit codes, their logs, their sockets and their files. Nothing here knows anything of the
//! programs' insides, and nothing stands in for one of them.
//!
//! ```no_run
//! use testkit::{DEADLINE, Home, Running, wait_until};
//!
//! let home = Home::new();
//! let bot = Running::start(&home, "bot", &["run"]);
//! wait_until(DEADLINE, "the bot listens", || home.socket("bot").exists());
//! bot.kill9();
//! ```
//!
//! # Variables
//!
//! | variable | meaning |
//! | --- | --- |
//! | `PROCESSION_BIN_DIR` | where the programs are; otherwise beside the running test's own target folder |
//! | `PROCESSION_TEST_DATA` | where the recordings are; otherwise `../shared/data` beside the repository |
//! | `PROCESSION_TEST_PYTHON` | the Python to run scripts with; otherwise `python3` |
//! | `PROCESSION_TEST_BROWSER` | the Chromium to open pages with; otherwise one on the PATH |
//! | `PROCESSION_TEST_SEED` | the seed of everything random in a test; otherwise a new one, which is printed |
//! | `PROCESSION_PROVE_FOLDER` | where `just prove` and `prove-checkout` keep the journals; otherwise in memory |

mod browser;
pub mod chain;
pub mod checkout;
mod damage;
mod find;
mod home;
mod limits;
pub mod living;
mod peer;
mod port;
mod process;
mod random;
mod tmpfs;
mod wait;

pub use browser::Browser;
pub use damage::{flip_bit, overwrite, truncate};
pub use find::{bin, data, left_out, python, script};
pub use home::Home;
pub use limits::{is_root, raise_open_files};
pub use peer::{Peer, call};
pub use port::free_port;
pub use process::{Ended, Running};
pub use random::seeded;
pub use tmpfs::{Ballast, Tmpfs};
pub use wait::{DEADLINE, ready_within, wait_until};
