//! The login of the private registry: one user, with a password that is made
//! for this lab and kept in its folder.

use std::path::PathBuf;

use anyhow::Result;

use super::certificates::{base64, random_token};
use super::layout::Lab;
use super::shell;

pub(crate) const USER: &str = "longshore";

/// The password, without a newline.
pub(crate) fn password_file(lab: &Lab) -> PathBuf {
    lab.etc("registry-private/password")
}

/// What the registry checks by.
pub(crate) fn htpasswd(lab: &Lab) -> PathBuf {
    lab.etc("registry-private/htpasswd")
}

/// `user:password`, as HTTP's basic authentication joins them.
fn pair_file(lab: &Lab) -> PathBuf {
    lab.etc("registry-private/login")
}

/// Makes the login if there is none.
pub(crate) fn ensure(lab: &Lab) -> Result<()> {
    // Written last: its presence tells that all are there.
    if htpasswd(lab).exists() {
        return Ok(());
    }
    let password = random_token()?;
    lab.write(&pair_file(lab), format!("{USER}:{password}"))?;
    let file = password_file(lab);
    lab.write(&file, password)?;
    // By bcrypt, which is all that the registry knows. The shell hands the
    // password over, which an argument would show to everybody.
    let script = "exec htpasswd -niB \"$0\" <\"$1\"";
    let line = shell::run("sh", ["-c", script, USER, &file.to_string_lossy()])?;
    lab.write(&htpasswd(lab), line.trim())
}

/// The value of HTTP's Authorization header.
pub(crate) fn authorization(lab: &Lab) -> Result<String> {
    Ok(format!("Basic {}", base64(&pair_file(lab))?))
}
