//! The one error that `acks` knows.

use journal::Offset;

#[derive(Debug)]
#[expect(dead_code, reason = "its fields are for the users of the product")]
pub(crate) enum Error {
    OutOfOrder { journal: String, offset: Offset, first: Offset },
}

pub(crate) type Result<T> = std::result::Result<T, Error>;
