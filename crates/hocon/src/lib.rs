//! A reader of HOCON, the configuration format of the JVM's `application.conf`.
//!
//! It follows the specification (<https://github.com/lightbend/config/blob/main/HOCON.md>): late
//! binding of substitutions, self-references, merging of objects, concatenation, `+=` and includes.
//! Each value has the file and the line of its key. The crate depends on no other part of Longshore.
//!
//! Reading has two steps. [`parse`] checks the syntax and reads no other file; [`parse_with`] also
//! reads includes. [`Document::resolve`] then merges the values and replaces the substitutions. The
//! caller provides the included files and the environment: the crate never looks at the environment
//! of the process, and opens a file only through an [`Includer`], such as [`Files`].
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! let text = r#"
//! job.directory = /tmp/jobs
//! job.directory = ${?JOBS}
//! job { timeout = 30 minutes, bind = ${job.directory}":/job" }
//! "#;
//! let environment = BTreeMap::from([("JOBS", "/srv/jobs")]);
//!
//! let document = longshore_hocon::parse(text, "application.conf")?;
//! let root = document.resolve(&|name| environment.get(name).map(|value| value.to_string()))?;
//!
//! let bind = root.get(&["job", "bind"]).expect("the file sets it");
//! assert_eq!(bind.location.to_string(), "application.conf:4");
//! assert_eq!(
//!     root.into_json(),
//!     serde_json::json!({"job": {
//!         "directory": "/srv/jobs", "timeout": "30 minutes", "bind": "/srv/jobs:/job",
//!     }}),
//! );
//!
//! let error = longshore_hocon::parse("a = 1\nb = x:y", "b.conf").unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "b.conf:2: not valid HOCON: `:` is not allowed here outside quotes",
//! );
//! # Ok::<(), longshore_hocon::Error>(())
//! ```
//!
//! # Differences from the specification
//!
//! - [`Document::resolve_only`] resolves only the requested top-level keys: other programs' sections
//!   may refer to values that only those programs have.
//! - URLs, the classpath and `.properties` files cannot be included. Each is refused by name.
//! - A Java system property, such as `java.version`, has the value that the caller's `environment`
//!   returns for its name. Without one, it is refused by name, unless the substitution is optional.
//! - A file in which the value of a substitution depends on the order of resolution, which the
//!   specification leaves open, is refused.
//! - Types are not converted, because only the caller knows which type a key has. A number keeps its
//!   spelling for a conversion to text, and [`parse_number`] converts text to a number.
//!
//! # Limits
//!
//! A small file can require very much work. The reader limits the nesting of braces (64), the number
//! (256), depth (16) and size (1 MiB) of included files, the depth of substitutions (200), the length
//! of joined text (1 MiB), and the number (1,000,000) and the text (64 MiB) of evaluated values. Beyond
//! a limit it returns an error. It does not limit the text that is passed to [`parse`]: the caller already holds it.
//!
//! # Why another reader
//!
//! Each of the existing libraries that were tried silently changes the meaning of a file, or cannot
//! read it:
//!
//! - `hocon` 0.9 and `hocon_` 0.12 bind a substitution to the value set so far, not to the final
//!   one: `b = ${d}":/job"` keeps the earlier `d`, which mounts another folder. The same happens
//!   with an object that is extended later. They cannot parse `include required(...)`, and read
//!   `0755` as 755.
//! - `hocon-rs` 0.2 lets `x = ${?X}` erase an earlier `x` if `X` is unset.
//! - All of them resolve the whole file, so that one `${java.io.tmpdir}` in another program's
//!   section makes the requested section unreadable. None reports the line of a value.

// Everything here reads what other people wrote: no input may cause a panic.
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::expect_used, clippy::indexing_slicing)
)]

mod ast;
mod cursor;
mod document;
mod error;
mod files;
mod include;
mod includer;
mod location;
mod parser;
mod path;
mod resolve;
mod scalar;
mod value;

pub use document::{Document, parse, parse_with};
pub use error::{Error, Warning};
pub use files::Files;
pub use includer::Includer;
pub use location::Location;
pub use scalar::parse_number;
pub use value::{Node, Value};
