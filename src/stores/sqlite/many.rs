//! Many rows in one statement. For a whole chunk its text is always the same: it is put together once, and compiled once.

use std::sync::OnceLock;

use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Sqlite, Transaction};

use crate::stores::StoreResult;

type Bound = Query<'static, Sqlite, SqliteArguments>;

/// `head VALUES (?, …), … tail`
pub(super) struct Many {
    head: &'static str,
    n_columns: usize,
    /// Rows of a whole chunk: enough that the way to the connection's thread and back hardly counts.
    pub(super) n_rows: usize,
    tail: &'static str,
    whole: OnceLock<String>,
}

impl Many {
    pub(super) const fn new(head: &'static str, n_columns: usize, n_rows: usize, tail: &'static str) -> Self {
        Many { head, n_columns, n_rows, tail, whole: OnceLock::new() }
    }

    /// Writes `rows`, at most [`Many::n_rows`]; `bind` binds the columns of one.
    pub(super) async fn write<T>(
        &'static self,
        tx: &mut Transaction<'_, Sqlite>,
        rows: Vec<T>,
        bind: impl Fn(Bound, T) -> Bound,
    ) -> StoreResult<()> {
        let statement = if rows.len() == self.n_rows {
            sqlx::query(self.whole.get_or_init(|| self.text(self.n_rows)).as_str())
        } else {
            // Seldom twice of the same length: not worth a place among the compiled ones.
            sqlx::query(AssertSqlSafe(self.text(rows.len()))).persistent(false)
        };
        rows.into_iter().fold(statement, bind).execute(&mut **tx).await?;
        Ok(())
    }

    fn text(&self, n_rows: usize) -> String {
        let row = format!("({})", vec!["?"; self.n_columns].join(", "));
        format!("{} VALUES {} {}", self.head, vec![row; n_rows].join(", "), self.tail)
    }
}
