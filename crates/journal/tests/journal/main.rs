//! The journal, by its public interface.

mod common;
mod records;
