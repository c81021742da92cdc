//! Chooses the runner of a job, falls back, follows it to its end.
