//! The names of the backends that the tests run on.

use crate::workspace::Workspace;

/// The current Docker engine, as a separate backend beside `docker`, which is
/// Debian's engine: the same programs test the same crate on it.
pub(crate) const DOCKER29: &str = "docker29";

/// The chart, which is tested on the lab's cluster and counted separately.
pub(crate) const HELM: &str = "helm";

/// Returns the names of the backends: `docker` for `crates/docker`, which also
/// adds `docker29`; and the chart, which like them is either exercised or not.
pub(crate) fn backend_names(workspace: &Workspace) -> impl Iterator<Item = String> {
    let crates = workspace.backends().flat_map(|package| {
        let folder = workspace.folder(package);
        let name = folder.trim_start_matches("crates/").to_owned();
        let other_engine = (name == "docker").then(|| DOCKER29.to_owned());
        std::iter::once(name).chain(other_engine)
    });
    crates.chain(std::iter::once(HELM.to_owned()))
}
