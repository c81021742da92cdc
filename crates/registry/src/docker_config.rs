//! Docker's own configuration. No login names it explicitly, so its problems are only warnings.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use longshore_core::ImageRef;

use crate::config_json::{ConfigJson, Holds};
use crate::found::Found;
use crate::helper::Asking;
use crate::read::read;
use crate::server::registry_of;

/// The maximum size of the file. Real files have some KiB.
const LARGEST: u64 = 1024 * 1024;

/// Returns the folder that Docker itself uses: `$DOCKER_CONFIG`, else `~/.docker`
/// (<https://docs.docker.com/reference/cli/docker/#environment-variables>).
pub(crate) fn default_folder() -> Option<PathBuf> {
    folder_of(std::env::var_os("DOCKER_CONFIG"), std::env::home_dir())
}

fn folder_of(named: Option<OsString>, home: Option<PathBuf>) -> Option<PathBuf> {
    let named = named.filter(|folder| !folder.is_empty()).map(PathBuf::from);
    named.or_else(|| Some(home?.join(".docker")))
}

/// Finds the credentials for the registry of `image` in the `config.json` in `folder`.
///
/// After a failure no further source is tried: it might have the credentials of another user.
pub(crate) async fn find(folder: &Path, image: &ImageRef, asking: Asking<'_>) -> Found {
    let path = folder.join("config.json");
    let shown = path.display();
    let registry = registry_of(image);
    let without = |why: String| Found {
        warnings: vec![format!("{why}; accessing {registry} anonymously")],
        ..Found::default()
    };
    let content = match read(&path, LARGEST).await {
        Ok(content) => content,
        Err(error) if error.is_absent() => return Found::default(),
        Err(error) => return without(format!("failed to read {shown}: {error}")),
    };
    let config = match ConfigJson::parse(&content.bytes) {
        Ok(config) => config,
        Err(why) => return without(format!("{shown} {why}")),
    };
    for source in config.sources(image) {
        let origin = format!("{shown} ({})", source.key);
        let (auth, warning) = match source.holds {
            Ok(Holds::Login(auth)) => (Some(auth), content.warning(&path)),
            Ok(Holds::Helper(program)) => match asking.ask(&program, registry).await {
                Ok(auth) => (auth, None),
                Err(error) => return without(format!("{origin}: {error}")),
            },
            Err(why) => return without(format!("{origin}: {why}")),
        };
        if auth.is_some() {
            return Found { auth, origin: Some(origin), warnings: warning.into_iter().collect() };
        }
    }
    Found::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_dockers_own() {
        for (named, home, expected) in [
            (Some("/etc/docker-config"), Some("/h"), Some("/etc/docker-config")),
            (Some(""), Some("/h"), Some("/h/.docker")),
            (None, Some("/h"), Some("/h/.docker")),
            (None, None, None),
        ] {
            let found = folder_of(named.map(OsString::from), home.map(PathBuf::from));
            assert_eq!(found, expected.map(PathBuf::from));
        }
    }
}
