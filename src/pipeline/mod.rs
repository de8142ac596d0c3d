//! The verbs: ingest → unify → score → evaluate → deliver, and sweep. They fetch, ask the pure parts, and commit; they know
//! contracts, never a concrete kind.

pub mod ingest;
