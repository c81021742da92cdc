//! The command and a service while the API server and the Docker engine are stopped.

use std::process::ExitCode;

fn main() -> ExitCode {
    longshore_tests::main(longshore_tests::Suite::Disruptive)
}
