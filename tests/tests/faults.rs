//! The command killed at every step, on all backends side by side.

use std::process::ExitCode;

fn main() -> ExitCode {
    longshore_tests::faults::main()
}
