//! The kubeconfig that names a cluster and the credentials for it.

use std::env;
use std::ffi::OsStr;
use std::io::ErrorKind::NotFound;
use std::path::PathBuf;

use kube::config::{Cluster, Config, Context, KubeConfigOptions, Kubeconfig, KubeconfigError};
use longshore_core::{Error, ErrorKind, Result};

use crate::config::KubernetesConfig;
use crate::error::Message;
use crate::target::ClusterId;
use crate::{credential_plugin, proxy};

/// What a kubeconfig names.
pub(crate) struct Named {
    pub(crate) config: Config,
    /// Where the credentials come from.
    pub(crate) identity: String,
    /// What identifies the cluster.
    pub(crate) cluster: ClusterId,
}

/// Loads the kubeconfig that `kubectl` would use, or else the service account of a Pod. If no context
/// is configured, it is `usual`, or else the kubeconfig's current one.
pub(crate) fn load(config: &KubernetesConfig, usual: Option<&str>) -> Result<Named> {
    let unavailable = |message: &'static str| Error::new(ErrorKind::Unavailable, message);
    let (kubeconfig, origin) = if let Some(path) = &config.kubeconfig {
        (Kubeconfig::read_from(path), path.display().to_string())
    } else if let Some(paths) = env::var_os("KUBECONFIG").filter(|v| !v.is_empty()) {
        let origin = format!("KUBECONFIG={}", paths.display());
        (merged(&paths), origin)
    } else if let Some(path) = home_kubeconfig() {
        (Kubeconfig::read_from(&path), path.display().to_string())
    } else if env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
        let loaded = Config::incluster()
            .map_err(|e| unavailable("failed to read this Pod's service account").caused_by(e))?;
        let cluster = ClusterId::of(&loaded, None, None);
        let identity = "this Pod's service account".to_owned();
        return Ok(Named { config: loaded, identity, cluster });
    } else {
        return Err(unavailable(
            "no kubeconfig and not in a cluster: set KUBECONFIG or job.kubernetes.kubeconfig",
        ));
    };
    let wrong = |e: KubeconfigError| {
        let error = unavailable("failed to read the kubeconfig").with("kubeconfig", &origin);
        match e {
            // Its text quotes the lines around the fault, and with them the credentials.
            KubeconfigError::Parse(e) => error.caused_by(Message(place(&e))),
            KubeconfigError::ReadConfig(e, path) => error.with("file", path.display()).caused_by(e),
            e => error.caused_by(e),
        }
    };
    let kubeconfig = kubeconfig.map_err(wrong)?;
    let usual = usual.filter(|name| kubeconfig.contexts.iter().any(|it| it.name == *name));
    let context = config.context.as_deref().or(usual).map(str::to_owned);
    let options = KubeConfigOptions { context: context.clone(), ..<_>::default() };
    let cluster = cluster_of(&kubeconfig, context.as_deref());
    let own_proxy = cluster.and_then(|it| it.proxy_url.clone()).filter(|url| !url.is_empty());
    let authority = cluster.and_then(authority);
    let chosen = context_of(&kubeconfig, context.as_deref());
    let user = chosen.and_then(|it| it.user.clone());
    let identity = format!("{} of {origin}", user.unwrap_or_default());
    let name = chosen.map(|it| it.cluster.clone());
    let context = context.or_else(|| kubeconfig.current_context.clone());
    // Only the signature of this function is asynchronous: it reads files.
    let loading = Config::from_custom_kubeconfig(kubeconfig, &options);
    let mut loaded = futures::executor::block_on(loading).map_err(wrong)?;
    match (&loaded.root_cert, authority) {
        // As in client-go, an empty setting is none.
        (Some(_), None) => loaded.root_cert = None,
        // kube would trust no server, and the error would blame the server's certificate.
        (Some(certificates), Some(given)) if certificates.is_empty() => {
            return Err(unavailable(
                "the certificate authority of the API server has no certificate in PEM",
            )
            .with(given.0, given.1)
            .with("kubeconfig", &origin));
        }
        _ => {}
    }
    // kube compares NO_PROXY with the proxy's own address, not with the server's.
    let variable = |name: &str| env::var(name).ok();
    loaded.proxy_url = proxy::choose(&loaded.cluster_url, own_proxy.as_deref(), variable)
        .map_err(|e| e.with("kubeconfig", &origin))?;
    credential_plugin::ensure_supported(&loaded.auth_info)
        .map_err(|e| e.with("kubeconfig", &origin))?;
    let cluster = ClusterId::of(&loaded, name, context);
    Ok(Named { config: loaded, identity, cluster })
}

/// Returns the merged files of a list like that of `KUBECONFIG`. As in client-go, files that do not
/// exist are skipped, unless none exists.
fn merged(paths: &OsStr) -> std::result::Result<Kubeconfig, KubeconfigError> {
    let mut merged = None::<Kubeconfig>;
    let mut missing = None;
    for path in env::split_paths(paths).filter(|path| !path.as_os_str().is_empty()) {
        match Kubeconfig::read_from(path) {
            Ok(next) => merged = Some(merged.unwrap_or_default().merge(next)?),
            Err(KubeconfigError::ReadConfig(error, path)) if error.kind() == NotFound => {
                missing.get_or_insert(KubeconfigError::ReadConfig(error, path));
            }
            Err(error) => return Err(error),
        }
    }
    match (merged, missing) {
        (None, Some(missing)) => Err(missing),
        (merged, _) => Ok(merged.unwrap_or_default()),
    }
}

/// Returns where a file is no kubeconfig, without its content.
fn place(error: &serde_saphyr::Error) -> String {
    let place = error
        .location()
        .map_or_else(String::new, |at| format!(" (line {}, column {})", at.line(), at.column()));
    format!("the file is not a kubeconfig{place}")
}

/// Returns the context called `name`, or else the current context.
fn context_of<'a>(config: &'a Kubeconfig, name: Option<&str>) -> Option<&'a Context> {
    let name = name.or(config.current_context.as_deref())?;
    config.contexts.iter().find(|it| it.name == name)?.context.as_ref()
}

/// Returns the cluster of `context`, or else of the current context.
fn cluster_of<'a>(config: &'a Kubeconfig, context: Option<&str>) -> Option<&'a Cluster> {
    let context = context_of(config, context)?;
    config.clusters.iter().find(|it| it.name == context.cluster)?.cluster.as_ref()
}

/// Returns the setting that names the certificate authority of `cluster`, with the path of its file.
fn authority(cluster: &Cluster) -> Option<(&'static str, String)> {
    let full = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let data = full(&cluster.certificate_authority_data);
    data.map(|_| ("setting", "certificate-authority-data".to_owned()))
        .or_else(|| full(&cluster.certificate_authority).map(|path| ("file", path)))
}

fn home_kubeconfig() -> Option<PathBuf> {
    let path = env::home_dir()?.join(".kube/config");
    path.is_file().then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_the_list_that_does_not_exist_is_skipped_unless_none_exists() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("a"), "current-context: a\n").unwrap();
        std::fs::write(at("b"), "current-context: b\n").unwrap();
        let of = |names: &[&str]| merged(&env::join_paths(names.iter().map(|it| at(it))).unwrap());
        let current = |names: &[&str]| of(names).unwrap().current_context;
        assert_eq!(current(&["none", "b", "a"]).as_deref(), Some("b"));
        assert_eq!(current(&["a", "none"]).as_deref(), Some("a"));
        assert!(matches!(
            of(&["none", "never"]),
            Err(KubeconfigError::ReadConfig(_, path)) if path == at("none")
        ));
        std::fs::write(at("b"), "[").unwrap();
        assert!(matches!(of(&["a", "b"]), Err(KubeconfigError::Parse(_))));
    }
}
