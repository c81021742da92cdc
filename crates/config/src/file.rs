//! Reads configuration files and documents.

use std::path::Path;

use longshore_hocon::{Files, Includer};

use crate::{Location, Problem};

/// Reads the regular file at `path`, at most 1 MiB, in the same way as a file that HOCON includes.
pub(crate) fn read(path: &Path) -> Result<String, Problem> {
    let missing = || Problem::new("there is no such file").at(Location::file(path));
    Files.read(path).map_err(Problem::hocon)?.ok_or_else(missing)
}
