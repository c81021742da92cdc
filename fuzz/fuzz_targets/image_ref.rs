//! Fuzzes image references.
#![cfg_attr(fuzzing, no_main)]

longshore_fuzz::fuzz_target!(image_ref);
