//! Fuzzes Docker's `config.json`.
#![cfg_attr(fuzzing, no_main)]

longshore_fuzz::fuzz_target!(config_json);
