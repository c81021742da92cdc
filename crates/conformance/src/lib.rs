//! The behaviour suite that every runner passes, and a simulated runner.
