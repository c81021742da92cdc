//! Tests jobs that start jobs.

use crate::home::Home;

/// Returns a script that runs `longshore run ARGUMENTS` with the configuration `name` of `home`.
fn nested(home: &Home, name: &str, arguments: &str) -> String {
    let (program, config) = (env!("CARGO_BIN_EXE_longshore"), home.path(name));
    format!("{program} run --config {} {arguments}", config.display())
}

#[test]
fn a_job_runs_a_job_to_its_end() {
    let home = Home::with_processes();
    let script = nested(&home, "longshore.toml", "-- sh -c 'echo inner; exit 3'");
    home.run(&["run", "--", "sh", "-c", &script]).exits(3).says(&["inner"]);
}

#[test]
fn a_detached_local_job_that_would_end_with_its_outer_job_is_refused() {
    let home = Home::with_processes();
    let script = nested(&home, "longshore.toml", "--detach -- sleep 600");
    home.run(&["run", "--", "sh", "-c", &script]).exits(125).says(&[
        "a detached local process would end together with the job that starts it (attempt ",
        "run it without --detach, or on another runner",
    ]);
    // With another runner before it, only the local process is left out.
    home.write(
        "both.toml",
        "[job]\nrunners = ['docker', 'process']\ndocker.host = 'unix:///nowhere/docker.sock'\n",
    );
    let script = nested(&home, "both.toml", "--detach --image x -- true");
    let ran = home.run(&["run", "--", "sh", "-c", &script]).exits(125);
    ran.says(&["warning: process is not used: a detached local process", "passed over docker"]);
    ran.never_says("passed over process");
}
