//! The integration tests, in one binary: every file here links the whole crate once instead of once each.

mod architecture;
mod channels;
mod connectors;
mod data_sets;
mod deciding;
mod doctor;
mod documents;
mod http_server;
mod http_world;
mod import_command;
mod journeys;
mod looking;
mod not_run;
mod reloading;
mod repository;
mod rust_source;
mod servers;
mod shop;
mod store_conformance;
mod tracking_api;
mod unifying;
mod unsubscribe_page;
mod why_not;
mod world;
