//! The Java system properties that a HOCON file may use, with the values that a Java virtual machine
//! has here.

use std::path::PathBuf;

use nix::unistd::{Uid, User};

/// Returns the value of the system property `name`, or `None` if only a virtual machine has it.
pub(crate) fn property(name: &str) -> Option<String> {
    let path = match name {
        "java.io.tmpdir" => temporary_folder(),
        "user.dir" => std::env::current_dir().ok()?,
        "user.home" => home()?,
        "user.name" => return user().map(|user| user.name).or_else(|| std::env::var("USER").ok()),
        _ => return None,
    };
    path.into_os_string().into_string().ok()
}

/// Returns the temporary folder. On Linux, a virtual machine ignores `TMPDIR`.
fn temporary_folder() -> PathBuf {
    if cfg!(target_os = "linux") { PathBuf::from("/tmp") } else { std::env::temp_dir() }
}

/// Returns the home folder in the user database, else `$HOME`.
fn home() -> Option<PathBuf> {
    user().map(|user| user.dir).filter(|home| home.is_absolute()).or_else(std::env::home_dir)
}

fn user() -> Option<User> {
    User::from_uid(Uid::current()).ok().flatten()
}
