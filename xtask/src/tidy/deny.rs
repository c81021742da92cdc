//! Reads `deny.toml`, the configuration of cargo-deny.

use serde::Deserialize;

use super::finding::Finding;

pub(crate) const FILE: &str = "deny.toml";

/// The parts of the configuration that tidy checks itself. It rejects what
/// changes their meaning and what it does not implement, such as `clarify`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Deny {
    #[serde(default)]
    pub graph: Graph,
    pub licenses: Licenses,
    pub sources: Sources,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Graph {
    /// The targets whose dependencies count; all targets if it is empty.
    #[serde(default)]
    pub targets: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Licenses {
    pub allow: Vec<String>,
    #[serde(default, rename = "include-dev")]
    _include_dev: bool,
    #[serde(default, rename = "unused-allowed-license")]
    _unused_allowed_license: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Sources {
    pub allow_registry: Vec<String>,
    #[serde(default)]
    pub allow_git: Vec<String>,
    #[serde(default, rename = "unknown-registry")]
    _unknown_registry: String,
    #[serde(default, rename = "unknown-git")]
    _unknown_git: String,
}

impl Deny {
    pub(crate) fn parse(text: &str) -> Result<Self, Finding> {
        toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            let what = format!("tidy cannot apply it: {}", error.message());
            Finding::new(FILE, line, what, "correct it, or add it to xtask/src/tidy/deny.rs")
        })
    }
}

/// Returns the line of the first string `value`; 1 if there is none.
pub(crate) fn line_of(text: &str, value: &str) -> usize {
    let quoted = format!("\"{value}\"");
    text.lines().position(|line| line.contains(&quoted)).map_or(1, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_tidy_does_not_apply_is_not_passed_over() {
        let text = "[licenses]\nallow = []\nclarify = []\n[sources]\nallow-registry = []\n";
        let finding = Deny::parse(text).unwrap_err();
        assert_eq!(finding.line, 3);
        assert!(finding.what.contains("clarify"), "{finding}");
    }

    #[test]
    fn the_sections_of_other_checks_do_not_matter() {
        let text = "[graph]\ntargets = [\"x\"]\nall-features = true\n[bans]\nwildcards = \"deny\"\n\
                    [licenses]\nallow = [\"MIT\"]\n[sources]\nallow-registry = []\n";
        let deny = Deny::parse(text).unwrap();
        assert_eq!(
            (deny.graph.targets, deny.licenses.allow),
            (vec!["x".into()], vec!["MIT".into()])
        );
    }
}
