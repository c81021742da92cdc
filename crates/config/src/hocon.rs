//! HOCON, as its specification has it
//! (<https://github.com/lightbend/config/blob/main/HOCON.md>), with lines.
//!
//! This reader is our own because the libraries that there are change what a file means, without
//! a word:
//!
//! - `hocon` 0.9 binds a substitution where it stands, not at the end, so that a value set later
//!   is not seen (it moved a mount); it can merge the whole environment in as values.
//! - `hocon` 0.9 and its fork `hocon_` 0.12 let `x = ${?X}` erase the `x` set before when `X` is
//!   unset, and do not know `include required(...)`.
//! - `hocon-rs` 0.2 reads `${java.io.tmpdir}` and its like as text or as nothing.
//!
//! What differs from the specification, each on purpose:
//!
//! - Only the top-level keys that are asked for are resolved: what other programs wrote into the
//!   file may refer to what only they have.
//! - URLs, the classpath and `.properties` files cannot be included, and Java's system properties
//!   cannot be substituted: each is refused by name.
//! - Where the specification leaves it to the order of resolution which value a substitution has,
//!   the file is refused.
//!
//! The reader never follows a file without bound: its size, depth, includes and the work of
//! resolving are limited.

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

/// What a file needs beside its text.
pub(crate) struct Context<'a> {
    /// Where substitutions look that find nothing in the file.
    pub(crate) environment: &'a BTreeMap<String, String>,
    /// Which top-level keys to resolve; all others are other programs'.
    pub(crate) wanted: &'a dyn Fn(&str) -> bool,
}

/// The wanted part of the file called `path`, and warnings.
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
