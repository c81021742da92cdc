//! `longshore doctor`: which runner can take work, and why not.

use super::case::cases;
use crate::backend::Backend;
use crate::bench::Bench;
use crate::check::{Checked, same, says};

cases! { "doctor":
    doctor_exits_with_0_where_the_runner_can_take_work,
    doctor_exits_with_1_and_the_reason_where_none_can,
    doctor_changes_nothing,
}

fn doctor_exits_with_0_where_the_runner_can_take_work(bench: &Bench) -> Checked {
    let ran = bench.longshore()?.arg("doctor").run()?;
    ran.exits(0)?;
    says(&ran.text(), &[&format!("{}: can take work", bench.backend)])?;
    match bench.backend {
        Backend::Process => says(&ran.text(), &["state directory"]),
        Backend::Docker => says(&ran.text(), &["Docker Engine", "pull policy: IfNotPresent"]),
        Backend::Kubernetes => {
            let namespace = bench.lab.namespace.as_deref().unwrap_or_default();
            says(&ran.text(), &["Kubernetes v1.", namespace, "pull policy: IfNotPresent"])
        }
    }
}

fn doctor_exits_with_1_and_the_reason_where_none_can(bench: &Bench) -> Checked {
    let command = bench.bare()?.env("JOB_RUNNERS", bench.backend.name()).arg("doctor");
    let (command, reason) = match bench.backend {
        // A state directory below a file.
        Backend::Process => {
            (command.env("JOB_PROCESS_STATEDIRECTORY", "/etc/passwd/state"), "/etc/passwd/state")
        }
        Backend::Docker | Backend::Kubernetes => (command, "nowhere"),
    };
    let ran = command.run()?;
    ran.exits(1)?;
    let said = format!("{}: cannot take work (Unavailable)", bench.backend);
    says(&ran.text(), &[&said, reason])
}

fn doctor_changes_nothing(bench: &Bench) -> Checked {
    bench.longshore()?.arg("doctor").run()?.exits(0)?;
    same("what is on the backend", bench.on_backend()?, Vec::<String>::new())
}
