//! The list of rules, and the code that runs them.

use anyhow::Result;
use longshore_lab::say;

use super::finding::Finding;
use super::tree::Tree;
use super::{
    arrows, backends, circles, dependencies, documents, length, links, packages, readme, release,
    small, toolchain, words,
};
use crate::workspace::Workspace;
use crate::{api, codegen};

/// Prints the findings of every rule. Returns true if there are none.
pub(crate) fn tidy(with_build: bool) -> Result<bool> {
    let mut tidy = true;
    let mut rules = check(&Workspace::load()?)?;
    if with_build {
        let instead = "look at what was rewritten, and commit it";
        let stale = codegen::check()?.err().map(|said| {
            Finding::new(codegen::FILES[0], 1, format!("not as generated: {said}"), instead)
        });
        rules.push(("generated files", stale.into_iter().collect()));
        let wrong = api::check()?.into_iter();
        let wrong = wrong.map(|what| Finding::new(api::FOLDER, 1, what, instead)).collect();
        rules.push(("public interface", wrong));
    }
    for (name, found) in &rules {
        found.iter().for_each(|finding| say!("{finding}"));
        tidy &= found.is_empty();
        say!("{name}: {} found", found.len());
    }
    Ok(tidy)
}

/// Returns the findings of every rule that needs no build.
pub(crate) fn check(workspace: &Workspace) -> Result<Vec<(&'static str, Vec<Finding>)>> {
    let tree = Tree::load(&workspace.workspace_root)?;
    let mut rules = vec![
        ("arrows between crates", arrows::arrows(workspace)),
        ("licences and sources of dependencies", dependencies::dependencies(&tree)?),
        ("crates without features", small::small()?),
        ("packages", packages::packages(workspace, &tree)),
        ("versions of Rust", toolchain::toolchain(workspace, &tree)),
        ("order of a release", release::release(workspace, &tree)),
        ("files of a backend", backends::backends(workspace, &tree)),
        ("circles between files", circles::circles(workspace, &tree)?),
        ("lengths", length::length(&tree)),
        ("words", words::words(&tree)),
        ("documents", documents::documents(workspace, &tree)),
        ("links", links::links(&tree)),
        ("commands in documents", readme::readme(&tree)),
    ];
    rules.iter_mut().for_each(|(_, found)| found.sort());
    Ok(rules)
}
