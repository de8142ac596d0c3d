//! The integration tests, in one binary: every file here links the whole crate once instead of once each.

mod architecture;
mod data_sets;
mod documents;
mod http_server;
mod http_world;
mod not_run;
mod repository;
mod rust_source;
mod tracking_api;
mod unsubscribe_page;
