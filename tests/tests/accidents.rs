//! What others do to a job, on all backends in parallel.

use std::process::ExitCode;

fn main() -> ExitCode {
    longshore_tests::accidents::main()
}
