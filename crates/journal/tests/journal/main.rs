//! Tests of the journal through its public interface.

mod common;
mod crashes;
mod disks;
mod files;
mod older;
mod pages;
mod parts;
mod processes;
mod records;
mod steps;
mod stores;
