//! Resources, security and network.

use std::sync::Arc;

use longshore_core::{Capability, JobSpec, Memory, Network, Outcome};

use crate::bench::Bench;
use crate::case::Need::Can;
use crate::case::cases;
use crate::failure::{Checked, check, same};

cases! { "limits":
    a_job_that_needs_more_memory_than_its_limit_is_out_of_memory [Can(Capability::LimitMemory)],
    a_job_that_survives_its_childs_lack_of_memory_keeps_its_code [Can(Capability::LimitMemory)],
    a_job_that_exits_with_137_within_its_limit_is_not_out_of_memory [Can(Capability::LimitMemory)],
    more_processes_than_the_limit_cannot_start [Can(Capability::LimitPids)],
    a_cpu_limit_is_accepted [Can(Capability::LimitCpu)],
    without_a_network_there_is_only_loopback [Can(Capability::NetworkNone)],
    the_job_runs_as_the_user_asked_for [Can(Capability::RunAsUser)],
    a_read_only_root_filesystem_cannot_be_written [Can(Capability::ReadOnlyRootFilesystem)],
    without_privilege_escalation_no_new_privileges_is_set [Can(Capability::NoPrivilegeEscalation)],
}

/// Uses about 400 MB of memory.
const GREEDY: &str = "x=$(head -c 200000000 /dev/zero | tr \"\\000\" x); echo ${#x}";

fn limited(bench: &Bench, script: &str) -> JobSpec {
    let mut spec = bench.fixture().job(script);
    spec.resources.limits.memory = Some(Memory::from_bytes(64 << 20));
    spec
}

async fn a_job_that_needs_more_memory_than_its_limit_is_out_of_memory(
    bench: Arc<Bench>,
) -> Checked {
    let finished = bench.run(limited(&bench, GREEDY)).await?;
    same("the outcome", &finished.report.outcome, &Outcome::OutOfMemory { code: 137 })
}

async fn a_job_that_survives_its_childs_lack_of_memory_keeps_its_code(
    bench: Arc<Bench>,
) -> Checked {
    let script = format!("sh -c '{GREEDY}'; echo survived; exit 3");
    let finished = bench.run(limited(&bench, &script)).await?;
    // On cgroup v2 Kubernetes makes the kernel kill the whole container (memory.oom.group).
    let expected = if finished.output.text().contains("survived") {
        Outcome::Exited { code: 3, signal: None }
    } else {
        Outcome::OutOfMemory { code: 137 }
    };
    same("the outcome", &finished.report.outcome, &expected)
}

async fn a_job_that_exits_with_137_within_its_limit_is_not_out_of_memory(
    bench: Arc<Bench>,
) -> Checked {
    let finished = bench.run(limited(&bench, "exit 137")).await?;
    same("the outcome", &finished.report.outcome, &Outcome::Exited { code: 137, signal: None })
}

async fn more_processes_than_the_limit_cannot_start(bench: Arc<Bench>) -> Checked {
    let script = "n=0; while [ $n -lt 60 ]; do sleep 5 & n=$((n+1)); done; echo all started";
    let mut spec = bench.fixture().job(script);
    spec.resources.limits.pids = Some(20);
    let finished = bench.run(spec).await?;
    check(!finished.output.text().contains("all started"), || "60 processes started".to_owned())
}

async fn a_cpu_limit_is_accepted(bench: Arc<Bench>) -> Checked {
    let mut spec = bench.fixture().job("exit 0");
    spec.resources.limits.cpu = Some("500m".parse()?);
    let outcome = bench.run(spec).await?.report.outcome;
    check(outcome.is_success(), || format!("the job {outcome}"))
}

async fn without_a_network_there_is_only_loopback(bench: Arc<Bench>) -> Checked {
    // Prints the header and every route. An interface may exist and be down.
    let script = "while read -r line; do echo \"$line\"; done < /proc/net/route";
    let mut spec = bench.fixture().job(script);
    spec.network = Network::None;
    let routes = bench.run(spec).await?.output.text();
    check(routes.lines().count() <= 1, || format!("there are routes:\n{routes}"))
}

async fn the_job_runs_as_the_user_asked_for(bench: Arc<Bench>) -> Checked {
    let mut spec = bench.fixture().job("id -u; id -g");
    spec.security_context.run_as_user = Some(12_345);
    spec.security_context.run_as_group = Some(23_456);
    same("id", &bench.run(spec).await?.output.text(), &"12345\n23456\n".to_owned())
}

async fn a_read_only_root_filesystem_cannot_be_written(bench: Arc<Bench>) -> Checked {
    let mut spec = bench.fixture().job("(echo x > /probe) 2>/dev/null && echo wrote; echo done");
    spec.security_context.read_only_root_filesystem = true;
    same("the output", &bench.run(spec).await?.output.text(), &"done\n".to_owned())
}

async fn without_privilege_escalation_no_new_privileges_is_set(bench: Arc<Bench>) -> Checked {
    // https://docs.kernel.org/userspace-api/no_new_privs.html
    let mut spec = bench.fixture().job("grep NoNewPrivs /proc/self/status");
    spec.security_context.allow_privilege_escalation = Some(false);
    same("the status", &bench.run(spec).await?.output.text(), &"NoNewPrivs:\t1\n".to_owned())
}
