//! Builds Kubernetes from its Go modules.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::graph::Done;
use super::layout::{Lab, make_dir, short_hash, source};
use super::shell;

const MODULE: &str = "k8s.io/kubernetes";
const PROGRAMS: [&str; 5] =
    ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "kubelet"];

/// Builds the programs, unless they were built from this very module in this
/// way. Some minutes at first; the rest is in Go's own cache.
pub(crate) fn ensure(lab: &Lab) -> Result<Done> {
    let flags = flags()?;
    let recipe = recipe(&flags)?;
    let stamp = stamp(lab);
    let built = PROGRAMS.iter().all(|program| lab.bin(program).exists());
    if built && fs::read_to_string(&stamp).is_ok_and(|found| found == recipe) {
        return Ok(Done::Already);
    }
    make_dir(&lab.bin(""))?;
    // Removed first: half a build has no stamp.
    let _ = fs::remove_file(&stamp);
    build(lab, &flags)?;
    lab.write(&stamp, recipe)?;
    Ok(Done::Changed(format!("built {} programs", PROGRAMS.len())))
}

fn stamp(lab: &Lab) -> PathBuf {
    lab.bin(".kubernetes-stamp")
}

fn flags() -> Result<Vec<String>> {
    let version = required(&read("go.mod")?, MODULE)
        .with_context(|| format!("failed to find {MODULE} in tests/lab/go.mod"))?;
    let link = format!("-s -w -X k8s.io/component-base/version.gitVersion={version}");
    Ok(["-trimpath", "-buildvcs=false", "-ldflags"]
        .map(String::from)
        .into_iter()
        .chain([link])
        .collect())
}

fn recipe(flags: &[String]) -> Result<String> {
    let (module, sums) = (read("go.mod")?, read("go.sum")?);
    let parts = [module.as_bytes(), sums.as_bytes()];
    let parts: Vec<&[u8]> = parts.into_iter().chain(flags.iter().map(String::as_bytes)).collect();
    Ok(short_hash(&parts))
}

fn build(lab: &Lab, flags: &[String]) -> Result<()> {
    let Some(go) = find_go() else {
        bail!("failed to find the go command, which builds Kubernetes");
    };
    let packages = PROGRAMS.map(|program| format!("{MODULE}/cmd/{program}"));
    let mut command = Command::new(go);
    command
        .arg("build")
        .args(flags)
        .arg("-o")
        .arg(lab.bin(""))
        .args(packages)
        .current_dir(source())
        .env("CGO_ENABLED", "0");
    shell::capture(&mut command).map(drop)
}

/// Unlike Debian's programs, Go is where the developer has it.
fn find_go() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let installed = PathBuf::from("/usr/local/go/bin");
    std::env::split_paths(&path).chain([installed]).map(|dir| dir.join("go")).find(|go| go.exists())
}

fn read(name: &str) -> Result<String> {
    let path: &Path = &source().join(name);
    fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))
}

/// The version of `module` that a go.mod requires.
fn required(text: &str, module: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let line = line.trim();
        let mut words = line.strip_prefix("require ").unwrap_or(line).split_ascii_whitespace();
        (words.next()? == module).then(|| words.next().map(String::from))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_required_version_is_found_in_both_forms() {
        let text = "module a\n\nrequire b v1\n\nrequire (\n\tbb v2\n\tc v3 // indirect\n)\n";
        assert_eq!(required(text, "b").as_deref(), Some("v1"));
        assert_eq!(required(text, "c").as_deref(), Some("v3"));
        assert_eq!(required(text, "d"), None);
    }

    #[test]
    fn the_lab_module_names_kubernetes() {
        let flags = flags().unwrap();
        assert!(flags[3].contains("gitVersion=v1."), "{flags:?}");
    }
}
