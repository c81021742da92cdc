//! The chart on a real Kubernetes.

use std::process::ExitCode;

fn main() -> ExitCode {
    longshore_tests::main(longshore_tests::Suite::Helm)
}
