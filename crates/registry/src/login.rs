//! Explicit logins. Their problems are errors.

use longshore_core::{Error, ErrorKind, ImageRef, RegistryAuth, RegistryLogin, Result};

use crate::check::{Source, check};
use crate::found::Found;
use crate::helper::Asking;
use crate::program::Program;
use crate::server::{docker_name, registry_of};

/// Finds the credentials for the registry of `image` in the best of `logins`.
///
/// Returns `None` if no login is for it. `list` is the name of the list.
pub(crate) async fn find(
    logins: &[RegistryLogin],
    list: &str,
    image: &ImageRef,
    asking: Asking<'_>,
) -> Result<Option<Found>> {
    let checked = check(logins).map_err(|invalid| invalid.into_error(list))?;
    let fitting = checked.iter().enumerate();
    let fitting = fitting.filter_map(|(at, login)| Some((login.server.fits(image)?, at, login)));
    // No server is listed twice, so only one login is the best.
    let Some((_, at, best)) = fitting.max_by_key(|(fits, ..)| *fits) else { return Ok(None) };
    let origin = format!("{list}[{at}]");
    let key = |key| format!("{origin}.{key}");
    let registry = registry_of(image);
    let mut warnings = Vec::new();
    let auth = match &best.source {
        Source::File { username, path } => {
            let read = crate::password::from_file(path).await;
            let (password, warning) = read.map_err(|e| e.with("key", key("passwordFile")))?;
            warnings.extend(warning.map(|it| format!("{}: {it}", key("passwordFile"))));
            RegistryAuth::password(registry, *username, password)
        }
        Source::Variable { username, name } => {
            let read = crate::password::from_variable(name);
            let password = read.map_err(|e| e.with("key", key("passwordEnv")))?;
            RegistryAuth::password(registry, *username, password)
        }
        Source::Helper(program) => from_helper(program, registry, asking)
            .await
            .map_err(|e| e.with("key", key("credentialHelper")))?,
    };
    Ok(Some(Found { auth: Some(auth), origin: Some(origin), warnings }))
}

/// Asks a helper for the credentials for `registry`.
///
/// A helper that is configured for a registry but has no login for it is a mistake. Anonymous access
/// would end in a denial that does not say why.
async fn from_helper(
    program: &Program,
    registry: &str,
    asking: Asking<'_>,
) -> Result<RegistryAuth> {
    asking.ask(program, registry).await?.ok_or_else(|| {
        let message = "a credential helper has no login for a registry";
        Error::new(ErrorKind::InvalidSpec, message)
            .with("program", program)
            .with("server", docker_name(registry))
    })
}
