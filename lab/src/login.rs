//! The login of the private registry: one user, with a password that is generated
//! for this lab and kept in its folder.

use std::path::PathBuf;

use anyhow::Result;

use super::certificates::{base64, random_token};
use super::layout::Lab;
use super::shell;

pub(crate) const USER: &str = "longshore";

/// Returns the file with the password, without a newline.
pub(crate) fn password_file(lab: &Lab) -> PathBuf {
    lab.etc("registry-private/password")
}

/// Returns the file that the registry checks logins with.
pub(crate) fn htpasswd(lab: &Lab) -> PathBuf {
    lab.etc("registry-private/htpasswd")
}

/// Returns the file with `user:password`, as in HTTP's basic authentication.
fn pair_file(lab: &Lab) -> PathBuf {
    lab.etc("registry-private/login")
}

/// Creates the login if none exists.
pub(crate) fn ensure(lab: &Lab) -> Result<()> {
    // Written last: if it exists, all files exist.
    if htpasswd(lab).exists() {
        return Ok(());
    }
    let password = random_token()?;
    lab.write(&pair_file(lab), format!("{USER}:{password}"))?;
    let file = password_file(lab);
    lab.write(&file, password)?;
    // With bcrypt, the only hash that the registry supports. The shell passes the
    // password through stdin: an argument would be visible to every user.
    let script = "exec htpasswd -niB \"$0\" <\"$1\"";
    let line = shell::run("sh", ["-c", script, USER, &file.to_string_lossy()])?;
    lab.write(&htpasswd(lab), line.trim())
}

/// Returns the value of HTTP's Authorization header.
pub(crate) fn authorization(lab: &Lab) -> Result<String> {
    Ok(format!("Basic {}", base64(&pair_file(lab))?))
}
