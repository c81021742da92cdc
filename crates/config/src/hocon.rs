//! Parses HOCON by its specification
//! (<https://github.com/lightbend/config/blob/main/HOCON.md>), with line numbers.
//!
//! Longshore has its own reader because the existing libraries silently change the meaning of a
//! file, or cannot read it (each was tried):
//!
//! - `hocon` 0.9 and `hocon_` 0.12 bind a substitution to the value set so far, not to the final
//!   one: `b = ${d}":/job"` keeps the earlier `d`, which mounts another folder. The same happens
//!   with an object that is extended later. They cannot parse `include required(...)`, and read
//!   `0755` as 755.
//! - `hocon-rs` 0.2 lets `x = ${?X}` erase an earlier `x` if `X` is unset.
//! - All of them resolve the whole file, so that one `${java.io.tmpdir}` in another program's
//!   section makes Longshore's section unreadable. None reports the line of a value.
//!
//! This reader differs from the specification on purpose:
//!
//! - It resolves only the requested top-level keys: other programs' sections may refer to values
//!   that only those programs have.
//! - It cannot include URLs, the classpath or `.properties` files, and cannot substitute Java's
//!   system properties. It refuses each by name.
//! - It refuses a file in which the value of a substitution depends on the order of resolution,
//!   which the specification leaves open.
//!
//! The reader is bounded: it limits a file's size, depth and includes, and the work of resolving.

use std::collections::BTreeMap;
use std::path::Path;

use crate::node::Node;
use crate::{Location, Problem};

mod ast;
mod cursor;
mod include;
mod parser;
mod resolve;
mod scalar;

pub(crate) use scalar::parse_number;

/// What a file needs besides its text.
pub(crate) struct Context<'a> {
    /// The fallback for substitutions that find nothing in the file.
    pub(crate) environment: &'a BTreeMap<String, String>,
    /// Returns whether to resolve a top-level key. All others belong to other programs.
    pub(crate) wanted: &'a dyn Fn(&str) -> bool,
}

/// Parses the wanted part of the file `path`, and returns it with warnings.
pub(crate) fn parse(
    text: &str,
    path: &Path,
    context: &Context<'_>,
) -> Result<(Node, Vec<String>), Problem> {
    let mut files = include::Files::default();
    let root = files.parse_root(text, path)?;
    let node = resolve::resolve(root, &Location::file(path), context)?;
    Ok((node, files.warnings))
}
