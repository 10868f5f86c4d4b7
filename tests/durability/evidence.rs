//! What the gateway saw, held against what callers know.

use std::collections::{HashMap, HashSet};
use std::fmt::{self, Debug, Display};
use std::time::Duration;

use apnsd::clock::Instant;
use apnsd::domain::token::token_hex;
use apnsd::simulator::journal::Journal;
use apnsd::simulator::journal::entry::{Entry, Event, Service, Verdict};
use apnsd::simulator::journal::request::{Request, RequestVerdict};

use crate::ledger::{Fate, Ledger, Row};
use crate::process::Kill;
use crate::site::{Site, Way};

/// What a daemon has handed to the kernel reaches the gateway within this time, whatever becomes of the daemon.
const ON_THE_WAY: Duration = Duration::from_secs(10);
/// How often is looked.
const LOOK: Duration = Duration::from_millis(20);
/// Journal entries of one page.
const PAGE: usize = 50_000;

/// A notification that the gateway accepted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) at: Instant,
    pub(crate) connection: u64,
    /// Over HTTP/2: its `apns-id`.
    id: Option<u128>,
}

/// A notification that the gateway accepted again.
#[derive(Clone, Copy, Debug)]
#[expect(dead_code, reason = "a test that fails shows all of it")]
pub(crate) struct Resent {
    number: u32,
    first: Arrival,
    second: Arrival,
    /// The end of the daemon that had sent the first, where another one sent the second.
    death: Option<Kill>,
}

/// A connection to the gateway.
#[derive(Clone, Debug)]
pub(crate) struct Opening {
    pub(crate) at: Instant,
    connection: u64,
    /// SHA-256 of the client's certificate in hex.
    pub(crate) fingerprint: String,
}

/// The gateway's journal, read as far as it went.
#[derive(Debug)]
pub(crate) struct Evidence {
    journal: Journal,
    next: u64,
    /// By number of the row, earliest first.
    pub(crate) arrivals: HashMap<u32, Vec<Arrival>>,
    /// Numbers of rows as they were accepted.
    pub(crate) order: Vec<u32>,
    /// Connections for notifications.
    pub(crate) openings: Vec<Opening>,
    /// Whose each `apns-id` is.
    ids: HashMap<u128, u32>,
    /// What the gateway accepted and nobody has sent, or not so; and what no client may do.
    pub(crate) strange: Vec<String>,
}

/// What is wrong, if anything is.
#[derive(Debug)]
pub(crate) struct Findings {
    /// Answered OK, and neither accepted by the gateway nor among the rejections.
    pub(crate) lost: Vec<u32>,
    /// Delivered or rejected although nobody sent it, or the caller was told that it was refused.
    pub(crate) unasked: Vec<String>,
    /// Accepted by the gateway more than once.
    pub(crate) twice: Vec<(u32, Vec<Arrival>)>,
    /// Those of them that did not keep their `apns-id`.
    renamed: Vec<(u32, Vec<Arrival>)>,
    /// When each connection was opened.
    opened: HashMap<u64, Instant>,
    figures: Figures,
}

#[derive(Clone, Copy, Debug)]
struct Figures {
    answered_ok: usize,
    delivered: usize,
    rejected: usize,
    copies: usize,
}

impl Display for Findings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures { answered_ok, delivered, rejected, copies } = self.figures;
        let lost = self.lost.len();
        write!(
            formatter,
            "{answered_ok} notifications answered OK; {delivered} delivered, {rejected} rejected, {lost} lost, \
             {} sent again ({copies} copies)",
            self.twice.len()
        )
    }
}

impl Evidence {
    /// Begins with what comes from now on.
    pub(crate) fn from_now(journal: &Journal) -> Self {
        let mut earlier = Self::from_start(journal);
        earlier.read();
        Self { next: earlier.next, ..Self::from_start(journal) }
    }

    /// Begins with the first entry.
    pub(crate) fn from_start(journal: &Journal) -> Self {
        Self {
            journal: journal.clone(),
            next: 0,
            arrivals: HashMap::new(),
            order: Vec::new(),
            openings: Vec::new(),
            ids: HashMap::new(),
            strange: Vec::new(),
        }
    }

    /// Reads on to the end.
    pub(crate) fn read(&mut self) {
        loop {
            let page = self.journal.page(self.next, PAGE);
            assert!(page.oldest <= self.next + 1, "the journal has dropped entries");
            if page.entries.is_empty() {
                return;
            }
            self.next = page.next;
            page.entries.into_iter().for_each(|entry| self.take(entry));
        }
    }

    fn take(&mut self, entry: Entry) {
        let Entry { at, connection, event, .. } = entry;
        match event {
            Event::Notification(notification) if notification.verdict == Verdict::Accepted => {
                let number = number_of(notification.token.as_deref(), notification.payload.as_deref());
                self.accept(number, Arrival { at, connection, id: None }, &notification);
            }
            Event::Request(request) if request.excess => self.strange.push(format!("beyond the limit: {request:?}")),
            Event::Request(request) if request.verdict == RequestVerdict::Accepted => {
                self.accept_request(at, connection, &request)
            }
            Event::Violation { what } => self.strange.push(what),
            Event::Opened { service: Service::Gateway | Service::Http2, fingerprint, .. } => {
                self.openings.push(Opening { at, connection, fingerprint });
            }
            Event::Opened { .. } | Event::Refused { .. } | Event::Notification(_) | Event::Request(_) => (),
            Event::Answered { .. } | Event::Feedback { .. } | Event::Closed { .. } | Event::GoAway { .. } => (),
        }
    }

    fn accept_request(&mut self, at: Instant, connection: u64, request: &Request) {
        let number = number_of(request.token.as_deref(), request.payload.as_deref());
        let id = u128::from_str_radix(&request.apns_id.replace('-', ""), 16).expect("the simulator checks it");
        let owner = number.map(|number| *self.ids.entry(id).or_insert(number));
        let number = number.filter(|_| owner == number);
        self.accept(number, Arrival { at, connection, id: Some(id) }, request);
    }

    /// Enters something accepted: a row of ours, or something strange.
    fn accept(&mut self, number: Option<u32>, arrival: Arrival, what: &impl Debug) {
        match number {
            Some(number) => {
                self.arrivals.entry(number).or_default().push(arrival);
                self.order.push(number);
            }
            None => self.strange.push(format!("{what:?}")),
        }
    }

    /// Numbers of rows in the order in which each was accepted first.
    pub(crate) fn first_arrivals(&self) -> Vec<u32> {
        let mut seen = HashSet::new();
        self.order.iter().copied().filter(|number| seen.insert(*number)).collect()
    }

    /// Waits for what is still on the way, then holds everything against the books. The daemon's queues are empty.
    pub(crate) async fn hold_against(&mut self, ledger: &Ledger, site: &Site, apps: usize) -> Findings {
        let (mut rejected, mut wrongly) = (HashSet::new(), Vec::new());
        for app in 0..apps {
            judge(site.way(app), &site.rejections(app).await, &mut rejected, &mut wrongly);
        }
        let deadline = site.clock.now() + ON_THE_WAY;
        loop {
            self.read();
            let findings = self.findings(ledger, &rejected, &wrongly);
            if findings.lost.is_empty() || site.clock.now() > deadline {
                return findings;
            }
            site.clock.sleep(LOOK).await;
        }
    }

    fn findings(&self, ledger: &Ledger, rejected: &HashSet<u32>, wrongly: &[String]) -> Findings {
        let lines = ledger.lines();
        let mut unasked = [&self.strange, wrongly].concat();
        let mut lost = Vec::new();
        for line in &lines {
            let (row, fate) = (line.row, line.fate);
            let arrived = self.arrivals.contains_key(&row.number);
            let ended = if row.bad { rejected.contains(&row.number) } else { arrived };
            match (fate, ended) {
                (Fate::Accepted, false) => lost.push(row.number),
                (Fate::Refused, true) => unasked.push(format!("{row:?} was refused, and sent all the same")),
                (Fate::Accepted, true) | (Fate::Refused, false) | (Fate::Unknown, _) => (),
            }
        }
        let drawn = ledger.drawn();
        let strangers = self.arrivals.keys().chain(rejected).filter(|number| !drawn.contains(number));
        unasked.extend(strangers.map(|number| format!("row {number} was never in a call")));
        let mut twice: Vec<(u32, Vec<Arrival>)> =
            self.arrivals.iter().filter(|(_, all)| all.len() > 1).map(|(number, all)| (*number, all.clone())).collect();
        twice.sort_by_key(|(number, _)| *number);
        let keeps_id = |all: &[Arrival]| all.windows(2).all(|pair| pair[0].id == pair[1].id);
        let renamed = twice.iter().filter(|(_, all)| !keeps_id(all)).cloned().collect();
        let figures = Figures {
            answered_ok: lines.iter().filter(|line| line.fate == Fate::Accepted).count(),
            delivered: self.arrivals.len(),
            rejected: rejected.len(),
            copies: self.order.len() - self.arrivals.len(),
        };
        let opened = self.openings.iter().map(|opening| (opening.connection, opening.at)).collect();
        Findings { lost, unasked, twice, renamed, opened, figures }
    }
}

impl Findings {
    /// Nothing is lost, and nothing was sent that should not have been. Copies are another matter.
    pub(crate) fn assert_nothing_lost(&self) {
        assert_none("notifications were answered OK and are lost", &self.lost);
        assert_none("things were sent that nobody asked for", &self.unasked);
        assert_none("notifications were sent again with another apns-id", &self.renamed);
    }

    /// The same, and each was sent once.
    pub(crate) fn assert_each_once(&self) {
        self.assert_nothing_lost();
        assert_none("notifications were sent more than once", &self.twice);
    }

    /// Copies that no kill explains: the daemon that had sent the one before died, at most `bound` after it.
    pub(crate) fn unexplained(&self, kills: &[Kill], bound: Duration) -> Vec<Resent> {
        let is_explained = |resent: &Resent| resent.death.is_some_and(|death| death.at <= resent.first.at + bound);
        self.resent(kills).filter(|resent| !is_explained(resent)).collect()
    }

    /// How long before the death of its daemon something had gone out that was sent again, at most.
    pub(crate) fn oldest(&self, kills: &[Kill]) -> Duration {
        let age = |resent: Resent| Some(resent.death?.at.since(resent.first.at));
        self.resent(kills).filter_map(age).max().unwrap_or_default()
    }

    /// Each copy with the one before it. Connections tell whose they are and in which order they were sent: a busy
    /// gateway may read long after its death what a daemon has sent.
    fn resent(&self, kills: &[Kill]) -> impl Iterator<Item = Resent> {
        let death = |first: &Arrival, second: &Arrival| {
            let (first, second) = (self.opened.get(&first.connection)?, self.opened.get(&second.connection)?);
            kills.iter().find(|kill| kill.at >= *first).filter(|kill| kill.at <= *second).copied()
        };
        self.twice.iter().flat_map(move |(number, arrivals)| {
            let mut arrivals = arrivals.clone();
            arrivals.sort_by_key(|arrival| arrival.connection);
            let pairs: Vec<_> = arrivals.windows(2).map(|pair| (pair[0], pair[1])).collect();
            pairs.into_iter().map(move |(first, second)| {
                let death = death(&first, &second);
                Resent { number: *number, first, second, death }
            })
        })
    }

    /// How many copies followed each kill, at most.
    pub(crate) fn most_copies(&self, kills: &[Kill]) -> usize {
        let mut copies = vec![0; kills.len() + 1];
        for (_, arrivals) in &self.twice {
            for again in &arrivals[1..] {
                copies[kills.partition_point(|kill| kill.at < again.at)] += 1;
            }
        }
        copies.into_iter().max().unwrap_or(0)
    }
}

/// Fails with the first few.
pub(crate) fn assert_none<T: Debug>(what: &str, found: &[T]) {
    let few: Vec<&T> = found.iter().take(5).collect();
    assert!(found.is_empty(), "{} {what}: {few:?} …", found.len());
}

/// The row of a notification, if it is one of ours and says what it should.
fn number_of(token: Option<&[u8]>, payload: Option<&[u8]>) -> Option<u32> {
    let number = number_in(&token_hex(token?), false)?;
    let payload = str::from_utf8(payload?).ok()?;
    let text = payload.strip_prefix("{\"aps\":{\"alert\":\"")?.strip_suffix("\"}}")?;
    (text == "to all" || text.trim_end_matches('x') == number.to_string()).then_some(number)
}

/// The number in a token that is one of ours.
fn number_in(token: &str, bad: bool) -> Option<u32> {
    let number = u32::from_str_radix(token.get(56..)?, 16).ok()?;
    (Row { number, bad }.token() == token).then_some(number)
}

/// Sorts an app's rejections: numbers of bad rows that were rejected for it, and all others in words.
fn judge(way: Way, rejections: &[(String, String)], rejected: &mut HashSet<u32>, wrongly: &mut Vec<String>) {
    for (token, reason) in rejections {
        match number_in(token, true).filter(|_| reason == way.bad_token()) {
            Some(number) => drop(rejected.insert(number)),
            None => wrongly.push(format!("{token} was rejected: {reason}")),
        }
    }
}
