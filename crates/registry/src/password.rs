//! Passwords from a file or an environment variable.

use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use longshore_core::{Error, ErrorKind, Result, Secret};

use crate::read::read;

/// The maximum size of a file: larger than any registry's password or token.
const LARGEST: u64 = 64 * 1024;

/// Reads the password in the file at `path`. Returns a warning too if others may read the file.
pub(crate) async fn from_file(path: &Path) -> Result<(Secret, Option<String>)> {
    let failed = || invalid("failed to read a registry's password").with("path", path.display());
    let content = read(path, LARGEST).await.map_err(|error| failed().caused_by(error))?;
    let warning = content.warning(path);
    let password = usable(content.bytes).map_err(|why| failed().caused_by(why))?;
    Ok((password, warning))
}

/// Reads the password in the environment variable `name` of this process.
pub(crate) fn from_variable(name: &str) -> Result<Secret> {
    let failed = || invalid("failed to read a registry's password").with("variable", name);
    let value = std::env::var_os(name).ok_or_else(|| failed().caused_by("it is not set"))?;
    usable(value.into_vec()).map_err(|why| failed().caused_by(why))
}

/// Converts `bytes` to a password, with one final newline removed: editors and `echo` add one.
///
/// Refuses text with a newline or a NUL character, which no registry accepts in a password (RFC 7617,
/// section 2, allows no control characters), so that it does not look like a wrong password later.
pub(crate) fn usable(bytes: Vec<u8>) -> std::result::Result<Secret, &'static str> {
    // The error is dropped, because it contains the bytes.
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8")?;
    let text = text.strip_suffix('\n').map_or(&*text, |it| it.strip_suffix('\r').unwrap_or(it));
    if text.is_empty() {
        Err("it is empty")
    } else if text.contains(['\n', '\r']) {
        Err("it has a newline inside")
    } else if text.contains('\0') {
        Err("it has a NUL character")
    } else {
        Ok(Secret::new(text))
    }
}

fn invalid(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidSpec, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_final_newline_is_no_part_of_a_password() {
        for (bytes, password) in [
            (&b"pw"[..], "pw"),
            (b"pw\n", "pw"),
            (b"pw\r\n", "pw"),
            (b" p w ", " p w "),
            ("päss\n".as_bytes(), "päss"),
        ] {
            assert_eq!(usable(bytes.to_vec()), Ok(Secret::new(password)));
        }
    }

    #[test]
    fn what_no_registry_can_be_told_is_no_password() {
        for (bytes, why) in [
            (&b""[..], "it is empty"),
            (b"\n", "it is empty"),
            (b"pw\n\n", "it has a newline inside"),
            (b"p\nw", "it has a newline inside"),
            (b"p\rw", "it has a newline inside"),
            (b"p\0w", "it has a NUL character"),
            (b"pw\xff", "it is not UTF-8"),
        ] {
            assert_eq!(usable(bytes.to_vec()), Err(why), "{bytes:?}");
        }
    }
}
