//! One function for each target: it panics if something does not hold.

mod cursors;
mod reader;
mod recovery;
mod settings;
mod varlink;

pub use cursors::cursors;
pub use reader::reader;
pub use recovery::recovery;
pub use settings::settings;
pub use varlink::varlink;
