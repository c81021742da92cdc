//! Fuzzes the output of a container, as an engine sends it.
#![cfg_attr(fuzzing, no_main)]

longshore_fuzz::fuzz_target!(docker_log);
