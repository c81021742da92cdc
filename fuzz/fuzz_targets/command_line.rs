//! Fuzzes the command line.
#![cfg_attr(fuzzing, no_main)]

longshore_fuzz::fuzz_target!(command_line);
