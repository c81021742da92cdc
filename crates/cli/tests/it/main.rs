//! Tests the command without any backend but local processes.

mod configuration;
mod habits;
mod home;
mod images;
mod jobs;
mod nested;
mod results;
mod waiting;
