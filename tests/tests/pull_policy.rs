//! The pull-policy matrix, on both Docker engines and on Kubernetes.

use std::process::ExitCode;

fn main() -> ExitCode {
    longshore_tests::pull::main()
}
