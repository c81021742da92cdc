//! Fuzzes the reader of HOCON.
#![cfg_attr(fuzzing, no_main)]

longshore_fuzz::fuzz_target!(hocon);
