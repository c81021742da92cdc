//! `longshore doctor`: which runner can take work, and why not.

use serde_json::Value;

use super::case::cases;
use crate::backend::Backend;
use crate::bench::Bench;
use crate::check::{Checked, same, says};

cases! { "doctor":
    doctor_exits_with_0_where_the_runner_can_take_work,
    doctor_exits_with_1_and_the_reason_where_none_can,
    doctor_changes_nothing,
    doctor_reports_to_programs_what_it_reports_to_people,
    doctor_asks_only_the_runners_that_it_is_given,
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

fn doctor_reports_to_programs_what_it_reports_to_people(bench: &Bench) -> Checked {
    let asked = ["doctor", "--output", "json"];
    let ran = bench.longshore()?.args(asked).run()?;
    ran.exits(0)?;
    let report: Value = serde_json::from_slice(&ran.stdout)?;
    let runner = &report["runners"][0];
    same("ready", &report["ready"], &Value::Bool(true))?;
    same("the runner", &runner["runner"], bench.backend.name())?;
    same("its findings", &runner["findings"], &serde_json::json!([]))?;
    says(&runner["version"].to_string(), &["."])?;
    // Nothing is reachable.
    let bare = bench.bare()?.env("JOB_RUNNERS", "docker").args(asked).run()?;
    bare.exits(1)?;
    let report: Value = serde_json::from_slice(&bare.stdout)?;
    same("ready", &report["ready"], &Value::Bool(false))?;
    same("the kind", &report["runners"][0]["error"]["kind"], "Unavailable")
}

fn doctor_asks_only_the_runners_that_it_is_given(bench: &Bench) -> Checked {
    let all = || Checked::Ok(bench.longshore()?.env("JOB_RUNNERS", "kubernetes,docker,process"));
    let ran = all()?.args(["doctor", "--runners", bench.backend.name()]).run()?;
    ran.exits(0)?;
    let text = ran.text();
    let lines = text.lines().filter(|line| !line.starts_with(' ')).count();
    same("the number of runners", lines, 1)?;
    let ran = all()?.args(["doctor", "--runners", "slurm"]).run()?;
    ran.exits(125)?;
    says(&ran.stderr, &["slurm"])
}
