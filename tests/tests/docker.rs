//! The command with a real Docker.

use std::process::ExitCode;

fn main() -> ExitCode {
    longshore_tests::main(longshore_tests::Suite::Docker)
}
