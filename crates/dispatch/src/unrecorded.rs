//! Errors of the journal, as those of the dispatcher.

use longshore_core::{Error, ErrorKind};
use longshore_journal::JournalError;

/// Converts an error of the journal. It is never a reason to try another runner.
pub(crate) fn unrecorded(error: JournalError) -> Error {
    Error::from(error).with_kind(ErrorKind::Internal)
}
