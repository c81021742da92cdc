//! Longshore's runner for Kubernetes Jobs.
