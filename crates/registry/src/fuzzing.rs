//! The readers of what others write about logins, for the fuzz targets (`fuzz`). Not part of the
//! interface: they may change at any time.
//!
//! They are not behind a feature, because the workspace would then compile this crate twice.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use longshore_core::{ImageRef, RegistryAuth};

use crate::answer::{Output, understand};
use crate::config_json::{ConfigJson, Holds};
use crate::server::Server;

/// Reads Docker's `config.json`, and returns its logins for `image` and what is wrong with others.
///
/// # Errors
/// If it is not a configuration.
pub fn logins(
    content: &[u8],
    image: &ImageRef,
) -> Result<Vec<Result<RegistryAuth, String>>, String> {
    let sources = ConfigJson::parse(content)?.sources(image);
    let login = |holds| match holds {
        Ok(Holds::Login(auth)) => Some(Ok(auth)),
        Ok(Holds::Helper(_)) => None,
        Err(why) => Some(Err(why)),
    };
    Ok(sources.into_iter().filter_map(|source| login(source.holds)).collect())
}

/// Reads what a credential helper wrote before it exited with `code`.
///
/// # Errors
/// If that is no answer.
pub fn answer(code: u8, stdout: &[u8], stderr: &[u8]) -> Result<Option<RegistryAuth>, String> {
    let status = ExitStatus::from_raw(i32::from(code) << 8);
    let output = Output { status, stdout: stdout.to_vec(), stderr: stderr.to_vec() };
    understand(output, "registry.example").map_err(|error| error.to_string())
}

/// Reads the server of a login, and returns how well it fits `image`.
///
/// # Errors
/// If it is not a server.
pub fn fits(server: &str, image: &ImageRef) -> Result<Option<usize>, String> {
    Server::parse(server).map(|server| server.fits(image))
}
