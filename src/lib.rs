//! rekindle keeps a company's customers.
//!
//! The tree is a sentence: **doors** let work in, **verbs** move it, **kinds** know how, **nouns** say what. Read it from the
//! nouns outwards; `ARCHITECTURE.md` has the map, the invariants and the two journeys.

// Nouns
pub mod domain;

// Kinds, and what they share
pub mod channels;
pub mod connectors;
pub mod models;
pub mod rules;
pub mod schedule;
pub mod script;
pub mod stores;
pub mod telemetry;

// Verbs
pub mod pipeline;

// Doors
pub mod api;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod shop;
