//! The inbox in memory.

use async_trait::async_trait;
use rekindle::domain::clock::Timestamp;
use rekindle::stores::{Append, Log, LogRecord, StoreResult};

use super::MemoryLog;

#[async_trait]
impl Log for MemoryLog {
    async fn append(&self, append: &Append) -> StoreResult<()> {
        let mut inbox = self.0.lock().unwrap();
        for fact in &append.facts {
            inbox.end += 1;
            let position = inbox.end;
            inbox.facts.insert(position, fact.clone());
        }
        for q in &append.quarantined {
            inbox.quarantine.insert((q.source.clone(), q.reason.clone(), q.record.clone()));
        }
        for (source, cursor, _) in &append.cursors {
            inbox.cursors.insert(source.clone(), cursor.clone());
        }
        Ok(())
    }

    async fn read_after(&self, position: i64, max: usize) -> StoreResult<Vec<LogRecord>> {
        let inbox = self.0.lock().unwrap();
        let records = inbox.facts.range(position + 1..).take(max);
        Ok(records.map(|(position, fact)| LogRecord { position: *position, fact: fact.clone() }).collect())
    }

    async fn end(&self) -> StoreResult<i64> {
        Ok(self.0.lock().unwrap().end)
    }

    async fn cursor(&self, source: &str) -> StoreResult<Option<String>> {
        Ok(self.0.lock().unwrap().cursors.get(source).cloned())
    }

    async fn trim(&self, position: i64, before: Timestamp) -> StoreResult<u64> {
        let mut inbox = self.0.lock().unwrap();
        let old = inbox.facts.iter().take_while(|(at, fact)| **at <= position && fact.received_at < before);
        let old: Vec<i64> = old.map(|(at, _)| *at).collect();
        inbox.facts.retain(|at, _| !old.contains(at));
        Ok(old.len() as u64)
    }

    async fn quarantine_counts(&self) -> StoreResult<Vec<(String, String, u64)>> {
        let mut counts: Vec<(String, String, u64)> = Vec::new();
        for (source, reason, _) in &self.0.lock().unwrap().quarantine {
            match counts.last_mut() {
                Some((s, r, n)) if s == source && r == reason => *n += 1,
                _ => counts.push((source.clone(), reason.clone(), 1)),
            }
        }
        Ok(counts)
    }
}
