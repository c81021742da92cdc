//! A job whose runner is configured for another backend, as after `kubectl config use-context`.

use super::case::cases;
use super::jobs::{detached, longshore, removed};
use super::signals::pointed_at;
use crate::bench::Bench;
use crate::check::{Checked, same, says};
use crate::network::Silent;

cases! { "elsewhere":
    a_job_on_another_backend_is_refused_at_once_and_ends_on_its_own,
}

/// The command waited for an answer of the other backend, or believed it.
fn a_job_on_another_backend_is_refused_at_once_and_ends_on_its_own(bench: &Bench) -> Checked {
    let id = detached(bench, &[], "echo here; exit 3")?;
    let server = Silent::new()?;
    let address = server.address().to_string();
    for words in [&["wait"][..], &["cancel"], &["logs"], &["rm"]] {
        let ran = pointed_at(bench, &server)?.args(words).arg(&id).run()?;
        ran.exits(125)?;
        same("stdout", ran.text(), "")?;
        if words != ["rm"] {
            says(&ran.stderr, &[&address, "rm --force"])?;
        }
    }
    longshore(bench, &["wait", &id])?.exits(3)?;
    let ran = pointed_at(bench, &server)?.args(["rm", &id]).run()?;
    ran.exits(125)?;
    says(&ran.stderr, &[&address, "rm --force"])?;
    same("its output", longshore(bench, &["logs", &id])?.text(), "here\n")?;
    removed(bench, &id)
}
