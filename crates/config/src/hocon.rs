//! HOCON, as its specification has it
//! (<https://github.com/lightbend/config/blob/main/HOCON.md>), with lines.
//!
//! This reader is our own because the libraries that there are change what a file means, without
//! a word, or cannot read it (each tried):
//!
//! - `hocon` 0.9 and `hocon_` 0.12 bind a substitution to the value set so far, not to the final
//!   one: `b = ${d}":/job"` keeps the `d` of before, which mounts another folder. So too for an
//!   object that is extended later. They cannot parse `include required(...)`, and read `0755` as
//!   755.
//! - `hocon-rs` 0.2 lets `x = ${?X}` erase the `x` set before when `X` is unset.
//! - All of them resolve the whole file, so that one `${java.io.tmpdir}` in another program's
//!   section keeps ours from being read, and none tells the line of a value.
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
