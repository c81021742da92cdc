//! The command with local processes, and what it does without any backend.

use std::process::ExitCode;

fn main() -> ExitCode {
    longshore_tests::main(longshore_tests::Suite::Process)
}
