//! A request from its arrival to its answer.

use std::time::Duration;

use super::{Conversation, Life, Now};
use crate::clock::Instant;
use crate::domain::apns::{ApnsReason, IdSeed, NotificationId};
use crate::simulator::http2::answer::{Answer, Delivery};
use crate::simulator::http2::request::{Headers, RequestHeaders};
use crate::simulator::http2::session::Response;
use crate::simulator::journal::entry;
use crate::simulator::journal::request::RequestVerdict;
use crate::simulator::peer::GatewayEnvironment;
use crate::simulator::script::fault::{Delay, Ending};
use crate::simulator::script::http2::{AfterGoAway, GoAway, Refusal};
use crate::simulator::script::tokens::DeviceRule;

/// Error codes of RFC 9113, section 7.
const PROTOCOL_ERROR: u32 = 1;
const STREAM_CLOSED: u32 = 5;
const REFUSED_STREAM: u32 = 7;
const TOO_MANY_STREAMS: &str = "Maximum active streams violated";

/// A complete request.
pub(super) struct Arrived<'a> {
    pub(super) stream: u32,
    pub(super) headers: &'a Headers,
    pub(super) body: Vec<u8>,
    pub(super) excess: bool,
}

impl Conversation {
    /// A request is complete: it is refused, or judged and answered.
    pub(super) fn request(&mut self, arrived: Arrived<'_>, now: Now) {
        self.received += 1;
        let in_flight = self.limit.request();
        let refusal = match self.behavior.refusal() {
            Refusal::Process => in_flight,
            refusal => refusal,
        };
        match self.life {
            Life::Ending { .. } => self.leave(&arrived),
            Life::GoingAway { last, then: AfterGoAway::LeaveOpen } if arrived.stream > last => {
                self.refuse(&arrived, Refusal::Refuse);
            }
            Life::GoingAway { last, .. } if arrived.stream > last => self.leave(&arrived),
            Life::Open | Life::GoingAway { .. } if arrived.excess => self.refuse_excess(&arrived, now.at),
            Life::Open | Life::GoingAway { .. } => match refusal {
                Refusal::Process => self.process(arrived, now),
                Refusal::Refuse | Refusal::RefuseTwice => self.refuse(&arrived, refusal),
            },
        }
        self.announce_limit();
        self.held.count_request();
        self.give_due_answers(now.at);
    }

    fn process(&mut self, arrived: Arrived<'_>, now: Now) {
        let Arrived { stream, .. } = arrived;
        self.judged = self.judged.max(stream);
        let headers = RequestHeaders::of(arrived.headers);
        let rule = match self.judge.check(&headers, &arrived.body, now.wall) {
            Ok(()) => headers.token().map_or(DeviceRule::Accept, |token| DeviceRule::of(&token)),
            Err(reason) => DeviceRule::Reject(reason),
        };
        match rule {
            DeviceRule::End(ending) => {
                self.leave(&arrived);
                return self.end(now.at, ending);
            }
            DeviceRule::Reset => {
                self.leave(&arrived);
                return self.session.reset(stream, PROTOCOL_ERROR);
            }
            DeviceRule::Accept | DeviceRule::Reject(_) | DeviceRule::Shutdown | DeviceRule::Lose => (),
        }
        let (answered, retry_after) = self.behavior.verdict(rule.verdict(), now.at);
        self.limit.answered(answered.is_ok());
        if answered == Err(ApnsReason::ExpiredProviderToken) {
            self.judge.expired_token();
        }
        let verdict = match answered {
            Ok(()) if rule == DeviceRule::Lose => RequestVerdict::Lost,
            Ok(()) => RequestVerdict::Accepted,
            Err(reason) => RequestVerdict::Rejected(reason),
        };
        let apns_id = self.apns_id(&headers);
        let mut answer = Answer::new(answered, apns_id.clone(), now.wall);
        answer.retry_after = retry_after;
        if self.judge.environment == GatewayEnvironment::Development && answered.is_ok() {
            answer.unique_id = Some(self.new_id());
        }
        self.behavior.shape_answer(&mut answer);
        let lost = self.behavior.lose_answer.take();
        let status = Some(answer.status()).filter(|_| answer.is_given() && lost.is_none());
        self.note(&headers, apns_id, arrived.body, verdict, status, (stream, arrived.excess));
        if let Some(ending) = lost {
            return self.end(now.at, ending);
        }
        self.give(stream, answer, now.at);
        if rule == DeviceRule::Shutdown {
            self.go_away(&GoAway::default());
        }
        if let Some(ending) = self.behavior.spend(answered) {
            self.end(now.at, ending);
        }
    }

    fn give(&mut self, stream: u32, answer: Answer, now: Instant) {
        let delivery = answer.delivery;
        let response = answer.response();
        let ms = |ms| now + Duration::from_millis(ms);
        match delivery {
            Delivery::Now => self.respond(stream, response),
            Delivery::Reset(code) => self.reset(stream, code),
            Delivery::Reversed(count) => self.held.reversed(count, stream, response, now),
            Delivery::Later(Delay::FixedMs(fixed)) => self.held.until(ms(fixed), stream, response),
            Delivery::Later(Delay::RandomMs { from, to }) => {
                self.held.until(ms(self.rng.u64(from..=to)), stream, response);
            }
            Delivery::Later(Delay::Further(requests)) => self.held.further(requests, stream, response),
            Delivery::Later(Delay::Never) => drop(self.unanswered.remove(&stream)),
        }
    }

    pub(super) fn give_due_answers(&mut self, now: Instant) {
        for (stream, response) in self.held.due(now) {
            self.respond(stream, response);
        }
    }

    fn respond(&mut self, stream: u32, response: Response) {
        self.unanswered.remove(&stream);
        self.session.respond(stream, response);
    }

    fn reset(&mut self, stream: u32, code: u32) {
        self.unanswered.remove(&stream);
        self.session.reset(stream, code);
    }

    /// The request stays without an answer of any kind.
    fn leave(&mut self, arrived: &Arrived<'_>) {
        self.unanswered.remove(&arrived.stream);
        let headers = RequestHeaders::of(arrived.headers);
        let apns_id = self.apns_id(&headers);
        let place = (arrived.stream, arrived.excess);
        self.note(&headers, apns_id, arrived.body.clone(), RequestVerdict::NotProcessed, None, place);
    }

    fn refuse(&mut self, arrived: &Arrived<'_>, how: Refusal) {
        self.leave(arrived);
        self.session.reset(arrived.stream, REFUSED_STREAM);
        if how == Refusal::RefuseTwice {
            self.session.reset(arrived.stream, STREAM_CLOSED);
        }
    }

    fn refuse_excess(&mut self, arrived: &Arrived<'_>, now: Instant) {
        if !self.behavior.excess_is_fatal {
            return self.refuse(arrived, Refusal::Refuse);
        }
        self.leave(arrived);
        self.send_go_away(self.judged, PROTOCOL_ERROR, TOO_MANY_STREAMS);
        self.end(now, Ending::Clean);
    }

    /// The id of the answer: the request's, or a new one.
    fn apns_id(&mut self, headers: &RequestHeaders<'_>) -> String {
        match headers.valid_apns_id() {
            Some(id) => id.to_owned(),
            None => self.new_id(),
        }
    }

    fn new_id(&mut self) -> String {
        let mut seed = [0; 16];
        self.rng.fill(&mut seed);
        NotificationId::of_row(IdSeed(seed), 0).to_string()
    }

    fn note(
        &mut self,
        headers: &RequestHeaders<'_>,
        apns_id: String,
        payload: Vec<u8>,
        verdict: RequestVerdict,
        status: Option<u16>,
        (stream, excess): (u32, bool),
    ) {
        self.notes.counts.http2.count(verdict, status.is_some(), excess);
        self.push(|| {
            let mut entry = headers.entry(stream, apns_id, payload, excess);
            (entry.verdict, entry.status) = (verdict, status);
            entry.reason = match verdict {
                RequestVerdict::Rejected(reason) => Some(reason.name()),
                RequestVerdict::Accepted | RequestVerdict::Lost | RequestVerdict::NotProcessed => None,
            };
            entry::Event::Request(entry)
        });
    }
}
