//! Fuzzes the messages of an engine.
#![cfg_attr(fuzzing, no_main)]

longshore_fuzz::fuzz_target!(docker_message);
