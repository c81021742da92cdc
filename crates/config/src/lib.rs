//! Longshore's configuration: defaults < file < environment < flags.
