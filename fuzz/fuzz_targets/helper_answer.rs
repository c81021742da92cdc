//! Fuzzes the answers of credential helpers.
#![cfg_attr(fuzzing, no_main)]

longshore_fuzz::fuzz_target!(helper_answer);
