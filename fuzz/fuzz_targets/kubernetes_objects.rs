//! Fuzzes the states of a cluster's objects.
#![cfg_attr(fuzzing, no_main)]

longshore_fuzz::fuzz_target!(kubernetes_objects);
