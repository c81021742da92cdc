//! The dependencies that are allowed between crates.

use super::finding::Finding;
use crate::workspace::{Package, Workspace};

/// Finds forbidden dependencies between crates. Dependencies run one way:
/// core <- backends, conformance, dispatch. A backend knows no other backend,
/// nor dispatch, config, hocon, journal or registry. Hocon knows no other crate.
/// Journal and registry know only core; config may also know hocon. Dispatch may
/// know journal and registry. Only the facade names them all, except hocon, and
/// the command knows only the facade. The lab knows no crate of ours. The fuzz
/// targets may know every crate whose input is foreign. The tests of a crate may
/// enable its features by a dependency on itself.
pub(crate) fn arrows(workspace: &Workspace) -> Vec<Finding> {
    let mut found = Vec::new();
    for package in &workspace.packages {
        for dependency in &package.dependencies {
            let Some(other) = workspace.ours(dependency) else { continue };
            let dev = dependency.kind.as_deref() == Some("dev");
            if !may_know(workspace, package, other, dev) {
                found.push(finding(workspace, package, other, dev));
            }
        }
    }
    found
}

fn may_know(workspace: &Workspace, package: &Package, other: &Package, dev: bool) -> bool {
    let to_backend = workspace.is_backend(other);
    let to = other.name.as_str();
    if dev && to == package.name {
        // For the tests, which then have every feature.
        return true;
    }
    match package.name.as_str() {
        "longshore-core" | "longshore-hocon" | "longshore-lab" => false,
        "longshore-config" => ["longshore-core", "longshore-hocon"].contains(&to),
        "longshore-conformance" | "longshore-journal" | "longshore-registry" => {
            to == "longshore-core"
        }
        "longshore" if dev => {
            !["longshore-cli", "longshore-fuzz", "longshore-lab", "longshore-tests", "xtask"]
                .contains(&to)
        }
        "longshore" => {
            const PARTS: [&str; 5] = [
                "longshore-core",
                "longshore-config",
                "longshore-dispatch",
                "longshore-journal",
                "longshore-registry",
            ];
            to_backend || PARTS.contains(&to)
        }
        "longshore-cli" => to == "longshore",
        "xtask" => to == "longshore-lab",
        "longshore-fuzz" => {
            let foreign = [
                "longshore",
                "longshore-cli",
                "longshore-core",
                "longshore-hocon",
                "longshore-registry",
            ];
            to_backend || foreign.contains(&to)
        }
        // It tests the others from outside, and stops and starts backends.
        "longshore-tests" => {
            ["longshore", "longshore-core", "longshore-conformance", "longshore-lab"].contains(&to)
        }
        "longshore-dispatch" if ["longshore-journal", "longshore-registry"].contains(&to) => true,
        // The dispatcher and every backend.
        _ => to == "longshore-core" || dev && to == "longshore-conformance",
    }
}

fn finding(workspace: &Workspace, package: &Package, other: &Package, dev: bool) -> Finding {
    let manifest = format!("{}/Cargo.toml", workspace.folder(package));
    let how = if dev { "depends for its tests on" } else { "depends on" };
    Finding::new(
        manifest,
        1,
        format!("{} {how} {}", package.name, other.name),
        "move what both need to longshore-core, or what needs both to the facade, longshore",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::tests::workspace;

    #[test]
    fn arrows_that_run_one_way_are_left_alone() {
        let workspace = workspace(&[
            ("longshore-core", "crates/core", &["serde"]),
            ("longshore-docker", "crates/docker", &["longshore-core", "dev:longshore-conformance"]),
            ("longshore-hocon", "crates/hocon", &["serde_json"]),
            ("longshore-config", "crates/config", &["dev:longshore-core", "longshore-hocon"]),
            ("longshore-registry", "crates/registry", &["longshore-core"]),
            ("longshore-journal", "crates/journal", &["longshore-core"]),
            (
                "longshore-dispatch",
                "crates/dispatch",
                &[
                    "longshore-core",
                    "longshore-journal",
                    "longshore-registry",
                    "dev:longshore-dispatch",
                ],
            ),
            ("longshore-conformance", "crates/conformance", &["longshore-core"]),
            (
                "longshore",
                "crates/longshore",
                &[
                    "longshore-docker",
                    "longshore-dispatch",
                    "longshore-journal",
                    "longshore-registry",
                ],
            ),
            ("longshore-cli", "crates/cli", &["longshore"]),
            ("longshore-lab", "lab", &["serde"]),
            ("longshore-tests", "tests", &["longshore", "longshore-lab"]),
            ("xtask", "xtask", &["longshore-lab"]),
            ("longshore-fuzz", "fuzz", &["longshore", "longshore-docker", "longshore-registry"]),
        ]);
        assert_eq!(arrows(&workspace), []);
    }

    #[test]
    fn an_arrow_the_wrong_way_is_found() {
        let workspace = workspace(&[
            ("longshore-core", "crates/core", &["longshore-config"]),
            ("longshore-config", "crates/config", &["longshore-docker"]),
            ("longshore-hocon", "crates/hocon", &["longshore-core"]),
            ("longshore-docker", "crates/docker", &["longshore-process", "longshore-conformance"]),
            ("longshore-process", "crates/process", &["longshore-dispatch"]),
            ("longshore-kubernetes", "crates/kubernetes", &["longshore-registry"]),
            ("longshore-journal", "crates/journal", &["longshore-registry", "longshore-hocon"]),
            ("longshore-registry", "crates/registry", &["longshore-dispatch"]),
            ("longshore-dispatch", "crates/dispatch", &["longshore-docker"]),
            ("longshore-conformance", "crates/conformance", &[]),
            ("longshore-cli", "crates/cli", &["longshore-core", "dev:longshore-lab"]),
            ("longshore-lab", "lab", &["longshore-core"]),
            ("longshore-tests", "tests", &["longshore-docker", "xtask"]),
            ("xtask", "xtask", &["longshore-core"]),
            ("longshore-fuzz", "fuzz", &["longshore-dispatch", "xtask"]),
        ]);
        let found: Vec<_> = arrows(&workspace).into_iter().map(|finding| finding.what).collect();
        assert_eq!(
            found,
            [
                "longshore-core depends on longshore-config",
                "longshore-config depends on longshore-docker",
                "longshore-hocon depends on longshore-core",
                "longshore-docker depends on longshore-process",
                "longshore-docker depends on longshore-conformance",
                "longshore-process depends on longshore-dispatch",
                "longshore-kubernetes depends on longshore-registry",
                "longshore-journal depends on longshore-registry",
                "longshore-journal depends on longshore-hocon",
                "longshore-registry depends on longshore-dispatch",
                "longshore-dispatch depends on longshore-docker",
                "longshore-cli depends on longshore-core",
                "longshore-cli depends for its tests on longshore-lab",
                "longshore-lab depends on longshore-core",
                "longshore-tests depends on longshore-docker",
                "longshore-tests depends on xtask",
                "xtask depends on longshore-core",
                "longshore-fuzz depends on longshore-dispatch",
                "longshore-fuzz depends on xtask",
            ]
        );
    }
}
