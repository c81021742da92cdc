//! Which runners a job may run on, and in which order.

use std::sync::Arc;

use longshore_core::{Error, ErrorKind, JobSpec, RunnerName};

use crate::candidate::Candidate;

/// The least similarity (0 to 1) at which a configured name is suggested.
const LIKENESS: f64 = 0.6;

/// Returns the runners for `spec`: those it names, in its order, or else all of `configured`.
pub(crate) fn select(
    configured: &[Arc<Candidate>],
    spec: &JobSpec,
) -> Result<Vec<Arc<Candidate>>, Error> {
    let Some(named) = &spec.runners else { return Ok(configured.to_vec()) };
    named.iter().map(|name| find(configured, name)).collect()
}

pub(crate) fn find(
    configured: &[Arc<Candidate>],
    name: &RunnerName,
) -> Result<Arc<Candidate>, Error> {
    let found = configured.iter().find(|candidate| candidate.name() == name);
    found.cloned().ok_or_else(|| unknown(configured, name))
}

fn unknown(configured: &[Arc<Candidate>], name: &RunnerName) -> Error {
    let names: Vec<&str> = configured.iter().map(|candidate| candidate.name().as_str()).collect();
    let message = match nearest(&names, name.as_str()) {
        Some(meant) => format!("the runner `{name}` is not configured; did you mean `{meant}`?"),
        None => format!("the runner `{name}` is not configured"),
    };
    Error::new(ErrorKind::InvalidSpec, message).with("configured", names.join(", "))
}

fn nearest<'a>(names: &[&'a str], name: &str) -> Option<&'a str> {
    let scored = names.iter().map(|n| (strsim::normalized_damerau_levenshtein(n, name), *n));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(score, _)| *score >= LIKENESS).map(|(_, n)| n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_offered_only_if_it_is_near() {
        let names = ["kubernetes", "docker", "process"];
        assert_eq!(nearest(&names, "dokcer"), Some("docker"));
        assert_eq!(nearest(&names, "kubernets"), Some("kubernetes"));
        assert_eq!(nearest(&names, "slurm"), None);
    }
}
