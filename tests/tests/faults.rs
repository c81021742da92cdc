//! The command killed at every step, on all backends in parallel.

use std::process::ExitCode;

fn main() -> ExitCode {
    longshore_tests::faults::main()
}
