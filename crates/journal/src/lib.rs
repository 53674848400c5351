//! A durable log with one writer and any number of readers, in files that everybody maps.
//!
//! Appending is a copy into mapped memory and a release store: no system call, no broker, no lock. What was
//! appended survives the death of any process at once, and power loss from the next sync on. Readers map the
//! same files read-only and take records out by themselves, so they cost the writer nothing.
//!
//! ```
//! use journal::{Codec, Entry, Item, Level, Options, Reader, Start, Writer};
//!
//! # fn main() -> journal::Result<()> {
//! # let home = tempfile::tempdir().expect("a temporary folder");
//! let instance = home.path().join("broadcaster");
//! let mut writer = Writer::open(&instance, &Options::default())?;
//! let said = Entry { topic: "greeting", key: None, cause: None, codec: Codec::Raw, payload: b"hello" };
//! let offset = writer.append(&said)?;
//!
//! let mut reader = Reader::open(&instance, Start::Beginning, Level::Committed)?.expect("a writer was there");
//! let Some(Item::Record(record)) = reader.next()? else { panic!("a record was appended") };
//! assert_eq!((record.offset, record.topic, record.payload), (offset, "greeting", &b"hello"[..]));
//! assert!(reader.next()?.is_none());
//! # Ok(())
//! # }
//! ```
//!
//! # What holds
//!
//! | | |
//! | --- | --- |
//! | one writer | a kernel lock, released at death, never judged by process id or time-out |
//! | said is said | when [`Writer::append`] returns, every reader can read the record, and SIGKILL cannot undo it |
//! | contiguous | offsets run 0, 1, 2, …; a record never changes |
//! | all or nothing | a [`Batch`] becomes visible by one store |
//! | readers harm nobody | they map read-only; a stopped one costs the writer nothing |
//! | power loss | leaves a prefix that contains everything up to the durable mark |
//! | nothing is skipped silently | what cannot be given is a [`Gap`] |
//! | bad bytes are an error | never undefined behaviour, a panic or an endless loop |
//! | a full disk is an error | [`Error::Full`]; appending goes on once there is room |
//! | sync errors are final | [`Error::Poisoned`] until the journal is reopened |
//!
//! Trust boundary: a journal's writer is trusted not to change what it has committed, and nobody may truncate a
//! segment that is mapped (reading it would raise SIGBUS). Readers are not trusted: what others look at of theirs is read,
//! not mapped. The byte layout and
//! what is assumed of file system and processor is in `FORMAT.md`.

mod ages;
mod batch;
mod bus;
mod clock;
mod commit;
mod cursors;
mod declared;
mod disk;
mod epochs;
mod error;
#[cfg(feature = "faults")]
pub mod fault;
#[cfg(not(feature = "faults"))]
mod fault;
mod finished;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod history;
mod holder;
mod latch;
mod layout;
mod leases;
mod lock;
#[cfg(all(test, loom))]
mod loom_tests;
mod map;
mod marks;
mod memory;
mod names;
mod notes;
mod ofd;
mod options;
mod prepare;
mod presence;
mod reader;
mod readers;
mod record;
mod recovery;
mod release;
mod retention;
mod segment;
mod shared;
mod signal;
mod slot;
mod snapshot;
mod summary;
mod sync;
mod table;
mod takeover;
mod types;
mod verify;
mod walk;
mod watch;
mod writer;

pub use batch::{Ack, Batch, Checkpoint};
pub use cursors::{Cursor, Cursors};
pub use error::{Error, Result};
pub use finished::{Bits, Finished};
pub use holder::{Holder, holder};
pub use latch::Ticket;
pub use layout::{FILES, FileKind, Purpose, cursors_path, journal_folder, lock_path, marks_path};
pub use lock::is_locked;
pub use marks::Marks;
pub use options::{Options, Retention, SyncPolicy, WhenFull};
pub use reader::{AtPath, Level, Reader, Start};
pub use segment::FORMAT_VERSION;
pub use summary::{bytes_from, bytes_on_disk, count_topics, read_marks, segment_bases};
pub use table::{CursorInfo, read_cursors};
pub use types::{
    Cause, Codec, Entry, Epoch, Gap, GapReason, Item, JournalId, KEY_BYTES_MAX, NAME_BYTES_MAX, Offset,
    PAYLOAD_BYTES_MAX, Position, Record, TOPIC_BYTES_MAX, Time,
};
pub use verify::{Damage, Report, verify};
pub use watch::Watch;
pub use writer::Writer;
