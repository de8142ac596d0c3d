//! The nouns: plain data and pure decisions. Nothing here waits, reads a clock, draws a random number or knows a store.
//!
//! An *event* is a fact about a customer. Folding events gives a *profile*; models add *scores*, conditions add
//! *segments*, and changes of those are *signals*. A rule run on one profile is an *evaluation*; one that says yes and is
//! admitted is a *firing*; each of its *actions* becomes a *delivery*, and every try of that is an *attempt*.
#![warn(missing_docs)]

pub mod clock;
pub mod id;
pub mod money;

pub mod customer;
pub mod event;
pub mod foreign;
pub mod history;
pub mod known_event;
pub mod message;
pub mod occurred;
pub mod order;
pub mod profile;
pub mod quarantine;
pub mod score;
pub mod segment;
pub mod subject;

pub mod action;
pub mod consent;
pub mod delivery;
pub mod rule;
pub mod template;
pub mod unsubscribe;

pub mod diagnostic;
pub mod secret;
