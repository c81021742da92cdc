//! HOCON, by its specification.
