//! Longshore's runner for the Docker Engine API.
