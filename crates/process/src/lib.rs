//! Longshore's runner for local processes.
