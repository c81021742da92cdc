//! Fuzzes the configuration.
#![cfg_attr(fuzzing, no_main)]

longshore_fuzz::fuzz_target!(settings);
