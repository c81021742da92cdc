//! The program of a target, with and without the fuzzer.

use std::process::ExitCode;

/// Defines the program of a target. Without the fuzzer, the program plays the files that it gets as
/// arguments, such as the input of a crash.
#[macro_export]
macro_rules! fuzz_target {
    ($target:ident) => {
        #[cfg(fuzzing)]
        libfuzzer_sys::fuzz_target!(|data: &[u8]| $crate::$target(data));

        #[cfg(not(fuzzing))]
        fn main() -> std::process::ExitCode {
            $crate::replay($crate::$target)
        }
    };
}

/// Plays the files that the arguments name. It panics where `target` does.
#[expect(clippy::print_stderr, reason = "a development command talks to a person")]
#[must_use]
pub fn replay(target: fn(&[u8])) -> ExitCode {
    for path in std::env::args_os().skip(1) {
        match std::fs::read(&path) {
            Ok(input) => target(&input),
            Err(error) => {
                eprintln!("failed to read {}: {error}", path.display());
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
