//! The integration tests, in one binary: every file here links the whole crate once instead of once each.

mod architecture;
mod data_sets;
mod not_run;
mod rust_source;
