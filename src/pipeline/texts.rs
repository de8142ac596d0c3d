//! Texts: every version of a rule that comes into force is kept, so that `why` can show what a rule said when it decided,
//! however often it was edited since.

use super::{Pipeline, PipelineError};
use crate::rules::RuleBook;
use crate::stores::{ModelStore, StoreError};

/// Where the text of a version stands among what the installation knows of itself.
fn key(rule: &str, version: &str) -> String {
    format!("rule_text/{rule}@{version}")
}

/// What `rule` said in `version`; `None` of a version that was never in force here.
pub async fn rule_text(store: &dyn ModelStore, rule: &str, version: &str) -> Result<Option<String>, StoreError> {
    store.meta(&key(rule, version)).await
}

impl Pipeline {
    /// Before anything is decided by `book`.
    pub(super) async fn keep_rule_texts(&self, book: &RuleBook) -> Result<(), PipelineError> {
        for rule in book.rules() {
            let key = key(&rule.id, &rule.version);
            if self.store.meta(&key).await?.is_none() {
                self.store.set_meta(&key, rule.text()).await?;
            }
        }
        Ok(())
    }
}
