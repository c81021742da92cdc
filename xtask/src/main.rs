//! `cargo xtask`: Longshore's development tasks.

mod api;
mod bench;
mod chart;
mod cli;
mod codegen;
mod markdown;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
