//! The command and a service while the API server and the Docker engine go away under them.

use std::process::ExitCode;

fn main() -> ExitCode {
    longshore_tests::main(longshore_tests::Suite::Disruptive)
}
