//! `cargo xtask`: Longshore's development tasks.

use std::process::ExitCode;

fn main() -> ExitCode {
    xtask::main()
}
