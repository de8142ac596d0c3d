//! The integration tests, in one binary: every file here links the whole crate once instead of once each.

mod connectors;
mod not_run;
