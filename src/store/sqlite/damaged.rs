//! Batches that cannot be read: each is said once and stays where it is, and whoever met it goes on with the next.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use rusqlite::Row;
use tracing::error;
use tracing::field::display;

use super::problem::Problem;
use crate::domain::app::AppId;

/// The damaged batches that were said, for as long as the store is open.
#[derive(Debug, Default)]
pub(super) struct Damaged(Mutex<BTreeSet<i64>>);

impl Damaged {
    /// Says that a batch is left out, if that is new. A problem that is not of this batch alone comes back.
    ///
    /// The row begins with the id of the batch and its number of rows.
    pub(super) fn leave_out(&self, app: Option<&AppId>, row: &Row<'_>, problem: Problem) -> Result<(), Problem> {
        if !problem.is_of_one_batch() {
            return Err(problem);
        }
        let (batch, rows): (i64, Option<i64>) = (row.get(0)?, row.get(1).ok());
        if self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(batch) {
            let app = app.map(display);
            error!(app, rows, "damaged, not sent, and left in apnsd.db for rescue with sqlite3: {problem}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, MutexGuard};

    use rusqlite::Connection;

    use super::*;
    use crate::store::record::RecordError;

    #[derive(Clone, Default)]
    struct Said(Arc<Mutex<Vec<u8>>>);

    impl Said {
        fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
            self.0.lock().unwrap()
        }
    }

    impl Write for Said {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.bytes().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is logged when a batch of 3 rows is left out twice, and what the second time answers.
    fn left_out(app: Option<&AppId>, problem: impl Fn() -> Problem) -> (String, Result<(), Problem>) {
        let said = Said::default();
        let writer = said.clone();
        let subscriber = tracing_subscriber::fmt()
            .without_time()
            .with_ansi(false)
            .with_target(false)
            .with_writer(move || writer.clone());
        let answer = tracing::subscriber::with_default(subscriber.finish(), || {
            let (damaged, connection) = (Damaged::default(), Connection::open_in_memory().unwrap());
            let mut statement = connection.prepare("SELECT 17, 3").unwrap();
            let mut rows = statement.query([]).unwrap();
            let row = rows.next().unwrap().unwrap();
            damaged.leave_out(app, row, problem()).ok();
            damaged.leave_out(app, row, problem())
        });
        let text = String::from_utf8(said.bytes().clone()).unwrap();
        (text, answer)
    }

    #[test]
    fn a_batch_is_said_once_with_its_app_its_rows_and_where_it_is() {
        let problem = || Problem::Record { id: 17, error: RecordError::Damaged("its checksum is another") };
        let (said, answer) = left_out(Some(&AppId::parse("one").unwrap()), problem);
        let line = "ERROR damaged, not sent, and left in apnsd.db for rescue with sqlite3: batch 17: the record is \
                    damaged: its checksum is another app=one rows=3\n";
        assert_eq!(said, line);
        assert!(answer.is_ok());
        let (said, _) = left_out(None, || Problem::App { id: 17 });
        assert!(said.ends_with("batch 17: it belongs to no app rows=3\n"), "{said}");
    }

    #[test]
    fn what_is_no_damage_of_one_batch_comes_back() {
        let newer = || Problem::Record { id: 17, error: RecordError::Newer { found: 2 } };
        assert!(matches!(left_out(None, newer), (said, Err(Problem::Record { id: 17, .. })) if said.is_empty()));
        let corrupt = || {
            let error = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
            Problem::Sqlite(rusqlite::Error::SqliteFailure(error, None))
        };
        assert!(matches!(left_out(None, corrupt), (said, Err(Problem::Sqlite(_))) if said.is_empty()));
    }
}
