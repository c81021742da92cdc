//! The books of a suite that plays one table on all backends: what ran, what could not, and how the
//! suite ends.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use libtest_mimic::{Arguments, Completion, Failed};
use longshore_conformance::Ledger;
use parking_lot::Mutex;

/// The results of a suite's trials.
#[derive(Default)]
pub(crate) struct Books {
    ledger: Ledger,
    /// The backends that are missing, and why.
    missing: Mutex<BTreeMap<&'static str, String>>,
}

/// Plays the suite `name`, at most `at_once` trials at a time, and returns the exit code for `main`:
/// 0 if `play` returns `true`.
pub(crate) fn main(
    name: &str,
    at_once: usize,
    play: impl FnOnce(&Arguments) -> Result<bool>,
) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(at_once);
    match play(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(101),
        Err(error) => {
            say(&format!("{name}: {error:#}\n"));
            ExitCode::from(101)
        }
    }
}

fn say(text: &str) {
    // If the reader closed the pipe, the exit code still has the result.
    let _ = io::stdout().lock().write_all(text.as_bytes());
}

/// Returns whether the arguments select every trial.
fn is_whole(arguments: &Arguments) -> bool {
    arguments.filter.is_none() && arguments.skip.is_empty() && !arguments.ignored
}

impl Books {
    /// Records a trial that cannot run because `backend` is missing, with the reason.
    pub(crate) fn unsupported(
        &self,
        trial: &str,
        backend: &'static str,
        reason: &str,
    ) -> Completion {
        self.ledger.unsupported(trial, reason);
        self.missing.lock().insert(backend, reason.to_owned());
        Completion::ignored_with(format!("unsupported: {reason}"))
    }

    /// Records how a trial ended.
    pub(crate) fn ended(&self, result: Result<()>) -> Result<Completion, Failed> {
        self.ledger.executed(result.is_ok());
        result.map(|()| Completion::Completed).map_err(|e| Failed::from(format!("{e:#}")))
    }

    /// Prints the table of the suite `name` and its counts, and writes both to the folder that
    /// `LONGSHORE_TEST_REPORT` names. Returns that folder, if `arguments` select every trial.
    ///
    /// # Errors
    /// If nothing ran, if a backend that `LONGSHORE_REQUIRE` names is missing, or if the folder
    /// cannot be written to.
    pub(crate) fn close(
        &self,
        name: &str,
        table: &str,
        arguments: &Arguments,
    ) -> Result<Option<PathBuf>> {
        say(&format!("\n{table}\n"));
        let counts = self.ledger.counts();
        say(&counts.summary(name, "all"));
        let folder = env::var_os("LONGSHORE_TEST_REPORT").map(PathBuf::from);
        if let Some(folder) = &folder {
            counts.write(name, "all", folder)?;
            fs::write(folder.join(format!("{name}.txt")), table)?;
        }
        if !is_whole(arguments) {
            return Ok(None);
        }
        let required = env::var("LONGSHORE_REQUIRE").unwrap_or_default();
        self.prove(counts.executed(), &required)?;
        Ok(folder)
    }

    /// Fails if the whole suite proves less than it should: if nothing ran, although no backend is
    /// missing, or if a backend in the list `required` is missing.
    fn prove(&self, executed: usize, required: &str) -> Result<()> {
        let missing = self.missing.lock();
        ensure!(executed > 0 || !missing.is_empty(), "nothing ran");
        for (backend, reason) in &*missing {
            let named = required.split(',').any(|it| ["all", *backend].contains(&it.trim()));
            ensure!(!named, "LONGSHORE_REQUIRE requires {backend}: {reason}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_fails_if_nothing_ran_or_a_required_backend_is_missing() {
        let books = Books::default();
        assert!(books.prove(0, "").is_err(), "nothing ran");
        assert!(books.prove(1, "all").is_ok());
        books.unsupported("a row", "docker", "no engine");
        assert!(books.prove(0, "process, kubernetes").is_ok());
        for required in ["all", "docker", "process, docker"] {
            let error = books.prove(1, required).unwrap_err().to_string();
            assert!(error.contains("docker: no engine"), "{error}");
        }
    }

    #[test]
    fn only_a_suite_without_a_filter_is_whole() {
        let with = |args: &[&str]| Arguments::from_iter([&["suite"], args].concat());
        assert!(is_whole(&with(&[])) && is_whole(&with(&["--test-threads", "2"])));
        assert!(!is_whole(&with(&["row"])) && !is_whole(&with(&["--skip", "row"])));
        assert!(!is_whole(&with(&["--ignored"])));
    }
}
