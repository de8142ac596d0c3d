//! How far ticks came, and which fit of a model was the newest when.

use rekindle::domain::clock::Timestamp;
use rekindle::stores::{Commit, StoredModel, TickProgress};
use serde_json::json;

use super::{Memory, at, customer};

every_store!(ticks_remember_how_far_they_came, the_fit_that_decided_then_is_found_again,);

async fn ticks_remember_how_far_they_came(memory: Memory) {
    let tick =
        |second, position, done_at| TickProgress { schedule: "rule".to_owned(), at: at(second), position, done_at };
    memory.store.begin_ticks(&[tick(10, None, None), tick(20, None, None)]).await.unwrap();
    let half = tick(10, Some(customer(1).customer), None);
    memory.store.commit_batch(&Commit { tick: Some(half.clone()), ..Commit::default() }).await.unwrap();
    memory.store.begin_ticks(&[tick(10, None, None)]).await.unwrap();
    let (newest, open) = memory.store.ticks_of(&["rule", "never"]).await.unwrap();
    let newest: Vec<_> = newest.into_iter().collect();
    let expected = (vec![("rule".to_owned(), at(20))], vec![half, tick(20, None, None)]);
    assert_eq!((newest, open), expected, "beginning again keeps the position");
    let done = Commit { tick: Some(tick(10, None, Some(at(11)))), ..Commit::default() };
    memory.store.commit_batch(&done).await.unwrap();
    assert_eq!(memory.store.ticks_of(&[]).await.unwrap().1, [tick(20, None, None)]);
}

async fn the_fit_that_decided_then_is_found_again(memory: Memory) {
    let fit = |second, version: &str| StoredModel {
        kind: "churn_risk".to_owned(),
        fitted_at: at(second),
        version: version.to_owned(),
        fitted: json!({ "cells": [1, 2.5] }),
        card: json!({ "n": second }),
    };
    memory.store.save_models(&[fit(10, "old"), fit(20, "new")]).await.unwrap();
    let version = |found: Vec<StoredModel>| found.into_iter().map(|m| m.version).collect::<Vec<_>>();
    assert_eq!(version(memory.store.models_at(at(15)).await.unwrap()), ["old"]);
    assert_eq!(version(memory.store.models_at(Timestamp::MAX).await.unwrap()), ["new"]);
    assert_eq!(memory.store.models_at(at(20)).await.unwrap()[0].fitted, json!({ "cells": [1, 2.5] }));
}
