//! A pluggable multi-backend job runner.
