//! The log in files: a buffer that callers append to, and the thread that writes it.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::warn;

use super::buffer::Buffer;
use super::files::{self, Files};
use super::record::RECORD_BYTES;
use super::{Entry, Logged};
use crate::clock::{Clock, Instant};
use crate::domain::app::AppId;
use crate::domain::batch::Span;
use crate::domain::time::Timestamp;

/// Records that wait at most; those beyond are dropped.
const BUFFER_BYTES: usize = 4 << 20;
/// The thread is called once so much waits, or after a while.
const CHUNK_BYTES: usize = 64 << 10;
const WRITE_INTERVAL: Duration = Duration::from_secs(1);
/// Memory that the buffers keep while little comes.
const KEPT_BYTES: usize = 256 << 10;
/// Between two warnings.
const WARN_INTERVAL: Duration = Duration::from_secs(60);

/// A log in the state directory.
#[derive(Debug)]
pub(in crate::store) struct Log {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    mail: Mutex<Mail>,
    news: Condvar,
}

#[derive(Debug)]
struct Mail {
    buffer: Buffer,
    /// Who wants to read the files, with all that came before.
    readers: Vec<oneshot::Sender<io::Result<Vec<File>>>>,
    is_closed: bool,
}

impl Log {
    /// Begins to log, with so many bytes of files in total.
    pub(in crate::store) fn open(dir: &Path, bytes_max: u64, clock: Clock) -> io::Result<Self> {
        let shared = Arc::new(Shared::new(BUFFER_BYTES));
        let files = Files::new(dir, bytes_max);
        let writer = Writer { shared: Arc::clone(&shared), files, clock, lost: 0, problem: None, warned: None };
        let thread = thread::Builder::new().name("outcomes".to_owned()).spawn(move || writer.run())?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Logs what became of a span's rows. Never waits for the disk.
    pub(in crate::store) fn log(&self, app: &AppId, span: &Span, outcome: Logged, at: Timestamp) {
        self.shared.log(app, span, outcome, at);
    }

    /// The records whose token begins as wanted and that are visible, oldest first, at most the `limit` newest.
    pub(in crate::store) async fn find(
        &self,
        is_wanted: impl Fn([u8; 4]) -> bool + Send + 'static,
        is_visible: impl Fn(&Entry) -> bool + Send + 'static,
        limit: usize,
    ) -> io::Result<Vec<Entry>> {
        let (answer, answered) = oneshot::channel();
        self.shared.ask(answer);
        let files = answered.await.map_err(|_| io::Error::other("the log of outcomes is closed"))??;
        tokio::task::spawn_blocking(move || files::find(files, is_wanted, is_visible, limit)).await?
    }

    /// Writes what is left and ends the thread; waits for both.
    pub(in crate::store) fn close(&self) {
        self.shared.mail().is_closed = true;
        self.shared.news.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that logs outcomes ended with a panic");
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn new(bytes_max: usize) -> Self {
        let mail = Mail { buffer: Buffer::new(bytes_max), readers: Vec::new(), is_closed: false };
        Self { mail: Mutex::new(mail), news: Condvar::new() }
    }

    fn log(&self, app: &AppId, span: &Span, outcome: Logged, at: Timestamp) {
        let mut mail = self.mail();
        if mail.is_closed {
            return;
        }
        let before = mail.buffer.records.len();
        mail.buffer.log(app, span, outcome, at);
        let after = mail.buffer.records.len();
        drop(mail);
        if before == 0 || (before < CHUNK_BYTES && after >= CHUNK_BYTES) {
            self.news.notify_one();
        }
    }

    /// Asks for the files. Once closed, drops the question, which answers it.
    fn ask(&self, reader: oneshot::Sender<io::Result<Vec<File>>>) {
        let mut mail = self.mail();
        if !mail.is_closed {
            mail.readers.push(reader);
            drop(mail);
            self.news.notify_one();
        }
    }

    /// Waits until there is something to do, and for more of it to come.
    fn wait(&self) -> MutexGuard<'_, Mail> {
        let is_urgent = |mail: &Mail| !mail.readers.is_empty() || mail.is_closed;
        let idle = |mail: &mut Mail| mail.buffer.records.is_empty() && !is_urgent(mail);
        let few = |mail: &mut Mail| mail.buffer.records.len() < CHUNK_BYTES && !is_urgent(mail);
        let mail = self.news.wait_while(self.mail(), idle).unwrap_or_else(PoisonError::into_inner);
        self.news.wait_timeout_while(mail, WRITE_INTERVAL, few).unwrap_or_else(PoisonError::into_inner).0
    }

    /// A panic elsewhere leaves the mail whole: records are appended one by one.
    fn mail(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the thread has.
struct Writer {
    shared: Arc<Shared>,
    files: Files,
    clock: Clock,
    /// Rows that were not logged since the last warning, and why not if it was not for want of room.
    lost: u64,
    problem: Option<io::Error>,
    warned: Option<Instant>,
}

impl Writer {
    fn run(mut self) {
        // A copy, so that the mail can be locked while the rest is changed.
        let shared = Arc::clone(&self.shared);
        let mut records = Vec::new();
        loop {
            let mut mail = shared.wait();
            std::mem::swap(&mut mail.buffer.records, &mut records);
            self.files.add_names(mail.buffer.names.since(self.files.named()));
            self.lost += std::mem::take(&mut mail.buffer.dropped);
            let readers = std::mem::take(&mut mail.readers);
            let is_closed = mail.is_closed;
            drop(mail);
            if let Err((bytes, problem)) = self.files.append(&records) {
                self.lost += (bytes / RECORD_BYTES) as u64;
                self.problem = Some(problem);
            }
            readers.into_iter().for_each(|reader| drop(reader.send(self.files.to_read())));
            self.warn(is_closed);
            if is_closed {
                return;
            }
            records.clear();
            records.shrink_to(KEPT_BYTES);
        }
    }

    fn warn(&mut self, is_last: bool) {
        let now = self.clock.now();
        let is_early = self.warned.is_some_and(|warned| now.since(warned) < WARN_INTERVAL);
        if self.lost == 0 || (is_early && !is_last) {
            return;
        }
        let why = self.problem.take().map_or_else(|| "they came too fast".to_owned(), |problem| problem.to_string());
        warn!(rows = self.lost, "outcomes were not logged, `apnsd trace` will not find them: {why}");
        self.lost = 0;
        self.warned = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{app, entry, span};
    use super::*;

    #[test]
    fn rows_that_find_no_room_are_dropped_and_counted() {
        let shared = Shared::new(10 * RECORD_BYTES);
        let log = |rows| shared.log(&app("one"), &span(1, rows), Logged::Accepted, Timestamp::default());
        log(0..4);
        log(4..12);
        log(12..15);
        let mail = shared.mail();
        assert_eq!((mail.buffer.records.len() / RECORD_BYTES, mail.buffer.dropped), (10, 5));
    }

    #[tokio::test]
    async fn a_log_goes_on_when_there_is_a_place_for_it_again() {
        let dir = tempfile::TempDir::new().unwrap();
        let gone = dir.path().join("gone");
        let log = Log::open(&gone, 1 << 20, Clock::system()).unwrap();
        let write = |id| log.log(&app("one"), &span(id, 0..1), Logged::Accepted, Timestamp::from_secs(9));
        write(1);
        assert_eq!(log.find(|_| true, |_| true, 9).await.unwrap(), []);
        std::fs::create_dir(&gone).unwrap();
        write(2);
        assert_eq!(log.find(|_| true, |_| true, 9).await.unwrap(), [entry("one", 2, 0, Logged::Accepted)]);
    }
}
