//! Fuzzes job files.
#![cfg_attr(fuzzing, no_main)]

longshore_fuzz::fuzz_target!(job_file);
