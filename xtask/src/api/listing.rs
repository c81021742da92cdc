//! The listing of the public interface: one file for each crate that the facade exports from, in the
//! format of cargo-public-api. A change to the interface shows in it, and so in review.

use std::{fs, iter};

use anyhow::{Context, Result};
use longshore_lab::{checkout, say, shell};

use super::interface::Interface;
use super::surface;
use crate::workspace::{Package, Workspace, cargo};

/// The folder of the listing, relative to the repository's root.
pub(crate) const FOLDER: &str = "api";

/// The crate that users depend on.
const FACADE: &str = "longshore";

/// Rewrites stale listings, and prints what is wrong. Returns true if the interface follows the
/// rules and all listings are up to date; with `check`, true if they were up to date before.
pub(crate) fn api(check: bool) -> Result<bool> {
    let found = examine()?;
    found.broken.iter().chain(&found.stale).for_each(|line| say!("{line}"));
    let fine = found.broken.is_empty() && (found.stale.is_empty() || !check);
    say!("public interface: {}", if fine { "fresh" } else { "not as committed, or not allowed" });
    Ok(fine)
}

/// Returns what is wrong with the interface, one line each. Rewrites stale listings.
pub(crate) fn check() -> Result<Vec<String>> {
    let found = examine()?;
    Ok(found.broken.into_iter().chain(found.stale).collect())
}

struct Found {
    /// Violations of the rules of the interface.
    broken: Vec<String>,
    /// Listings that were stale and have been rewritten.
    stale: Vec<String>,
}

fn examine() -> Result<Found> {
    let workspace = Workspace::load()?;
    let crates = crates(&workspace)?;
    document()?;
    let read = |name: &String| Interface::read(&workspace.target_directory, name);
    let interfaces = crates.iter().map(read).collect::<Result<Vec<_>>>()?;
    let folder = workspace.workspace_root.join(FOLDER);
    let mut stale = Vec::new();
    for interface in &interfaces {
        let name = format!("{}.txt", interface.krate.replace('_', "-"));
        let path = folder.join(&name);
        if fs::read_to_string(&path).ok().as_ref() != Some(&interface.listing) {
            fs::create_dir_all(&folder)?;
            fs::write(&path, &interface.listing)
                .with_context(|| format!("failed to write {}", path.display()))?;
            stale.push(format!("{FOLDER}/{name} was stale and has been rewritten"));
        }
    }
    Ok(Found { broken: surface::broken(&interfaces), stale })
}

/// Returns the facade and the crates of this workspace that it depends on, by their names in Rust.
fn crates(workspace: &Workspace) -> Result<Vec<String>> {
    let named = |name: &str| workspace.packages.iter().find(|package| package.name == name);
    let facade = named(FACADE).context("the workspace has no facade")?;
    let normal = facade.dependencies.iter().filter(|dependency| dependency.kind.is_none());
    let ours = normal.filter_map(|dependency| workspace.ours(dependency));
    let names = iter::once(facade).chain(ours).map(|Package { name, .. }| name.replace('-', "_"));
    Ok(names.collect())
}

/// Lets rustdoc write the interface of each library as JSON. The features are those of the whole
/// workspace, so that CI compiles nothing again after it has built the documentation.
fn document() -> Result<()> {
    let mut command = cargo();
    command
        .args(["doc", "--workspace", "--lib", "--no-deps", "--locked", "--quiet"])
        .env("RUSTDOC", checkout().join("xtask/rustdoc-json"))
        .env("RUSTDOCFLAGS", "-Z unstable-options --output-format json");
    shell::capture(&mut command).map(drop)
}
