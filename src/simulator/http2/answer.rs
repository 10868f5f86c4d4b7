//! Answers of the provider API as they go over the wire, with the faults that they can have. Pure.
//!
//! Source: "Handling notification responses from APNs".

use serde_json::{Map, Value};

use super::session::Response;
use crate::domain::apns::ApnsReason;
use crate::domain::time::Timestamp;
use crate::simulator::script::fault::Delay;
use crate::simulator::script::http2::{AnswerFault, WrongTimestamp};

/// A reason that no document names.
const UNHEARD_OF: &str = "UnheardOfReason";

/// An answer in the making.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    status: u16,
    reason: Option<String>,
    timestamp: Option<Value>,
    apns_id: Option<String>,
    /// The id of Apple's delivery log, which only the sandbox gives.
    pub(super) unique_id: Option<String>,
    pub(super) retry_after: Option<String>,
    content_type: String,
    body: Option<String>,
    headers_only: bool,
    ends_stream: bool,
    header_frames: u16,
    data_frames: u16,
    /// When it is given.
    pub(super) delivery: Delivery,
}

/// When an answer is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Delivery {
    #[default]
    Now,
    Later(Delay),
    /// So many at a time, in reverse order.
    Reversed(u32),
    /// A reset of the stream comes instead.
    Reset(u32),
}

impl Answer {
    /// The right answer.
    pub(super) fn new(verdict: Result<(), ApnsReason>, apns_id: String, now: Timestamp) -> Self {
        let (status, reason) = match verdict {
            Ok(()) => (200, None),
            Err(ApnsReason::Unknown(status)) => (status, Some(UNHEARD_OF.to_owned())),
            Err(reason) => (reason.status(), Some(reason.name().to_owned())),
        };
        Self {
            status,
            reason,
            timestamp: (status == 410).then(|| now.as_millis().into()),
            apns_id: Some(apns_id),
            unique_id: None,
            retry_after: None,
            content_type: "application/json".to_owned(),
            body: None,
            headers_only: false,
            ends_stream: true,
            header_frames: 1,
            data_frames: 1,
            delivery: Delivery::Now,
        }
    }

    /// Its status.
    pub(super) fn status(&self) -> u16 {
        self.status
    }

    /// Whether it is ever given.
    pub(super) fn is_given(&self) -> bool {
        !matches!(self.delivery, Delivery::Reset(_) | Delivery::Later(Delay::Never))
    }

    /// Takes over a fault.
    pub(super) fn shape(&mut self, fault: &AnswerFault) {
        match fault {
            AnswerFault::Delay(delay) => self.delivery = Delivery::Later(*delay),
            AnswerFault::Reversed(count) => self.delivery = Delivery::Reversed(*count),
            AnswerFault::Reset(code) => self.delivery = Delivery::Reset(*code),
            AnswerFault::Split(frames) => self.data_frames = *frames,
            AnswerFault::HeaderFrames(frames) => self.header_frames = *frames,
            AnswerFault::NoEndStream => self.ends_stream = false,
            AnswerFault::HeadersOnly => self.headers_only = true,
            AnswerFault::Body(body) => self.body = Some(body.clone()),
            AnswerFault::Reason(reason) => self.reason = self.reason.as_ref().map(|_| reason.clone()),
            AnswerFault::ContentType(content_type) => self.content_type.clone_from(content_type),
            AnswerFault::NoApnsId => self.apns_id = None,
            AnswerFault::Timestamp(wrong) => {
                let millis = self.timestamp.as_ref().and_then(Value::as_i64);
                self.timestamp = millis.and_then(|millis| match wrong {
                    WrongTimestamp::Absent => None,
                    WrongTimestamp::Seconds => Some((millis / 1000).into()),
                    WrongTimestamp::Text => Some(millis.to_string().into()),
                });
            }
        }
    }

    /// What is sent.
    pub(super) fn response(self) -> Response {
        let mut headers = Vec::new();
        let mut header =
            |name: &str, value: Option<String>| headers.extend(value.map(|value| (name.to_owned(), value)));
        header("apns-id", self.apns_id);
        header("apns-unique-id", self.unique_id);
        header("retry-after", self.retry_after);
        let mut body = Vec::new();
        if let Some(reason) = self.reason.filter(|_| !self.headers_only) {
            header("content-type", Some(self.content_type));
            let mut json = Map::new();
            json.insert("reason".to_owned(), reason.into());
            json.extend(self.timestamp.map(|timestamp| ("timestamp".to_owned(), timestamp)));
            body = self.body.unwrap_or_else(|| Value::Object(json).to_string()).into_bytes();
        }
        Response {
            headers,
            body,
            header_frames: self.header_frames.into(),
            data_frames: self.data_frames.into(),
            ends_stream: self.ends_stream,
            ..Response::new(self.status)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_454_948_015_990);

    fn answer(verdict: Result<(), ApnsReason>, faults: &[AnswerFault]) -> Response {
        let mut answer = Answer::new(verdict, "id".to_owned(), NOW);
        faults.iter().for_each(|fault| answer.shape(fault));
        answer.response()
    }

    fn body(response: &Response) -> &str {
        std::str::from_utf8(&response.body).unwrap()
    }

    #[test]
    fn success_has_the_id_and_nothing_else() {
        let response = answer(Ok(()), &[]);
        assert_eq!(response.headers, [("apns-id".to_owned(), "id".to_owned())]);
        assert_eq!((response.status, body(&response), response.ends_stream), (200, "", true));
    }

    #[test]
    fn an_error_has_its_reason_as_json() {
        let response = answer(Err(ApnsReason::BadDeviceToken), &[]);
        assert_eq!((response.status, body(&response)), (400, r#"{"reason":"BadDeviceToken"}"#));
        assert_eq!(response.headers[1], ("content-type".to_owned(), "application/json".to_owned()));
    }

    #[test]
    fn a_dead_token_has_a_timestamp_in_milliseconds_unless_it_is_to_be_wrong() {
        let gone = |faults: &[AnswerFault]| body(&answer(Err(ApnsReason::Unregistered), faults)).to_owned();
        assert_eq!(gone(&[]), r#"{"reason":"Unregistered","timestamp":1454948015990}"#);
        let wrong = |wrong| gone(&[AnswerFault::Timestamp(wrong)]);
        assert_eq!(wrong(WrongTimestamp::Absent), r#"{"reason":"Unregistered"}"#);
        assert_eq!(wrong(WrongTimestamp::Seconds), r#"{"reason":"Unregistered","timestamp":1454948015}"#);
        assert_eq!(wrong(WrongTimestamp::Text), r#"{"reason":"Unregistered","timestamp":"1454948015990"}"#);
    }

    #[test]
    fn an_error_is_disfigured_in_every_way() {
        let shaped = |fault| answer(Err(ApnsReason::BadTopic), &[fault]);
        assert_eq!(body(&shaped(AnswerFault::Body("<html>".to_owned()))), "<html>");
        assert_eq!(body(&shaped(AnswerFault::Reason("New".to_owned()))), r#"{"reason":"New"}"#);
        assert_eq!(body(&shaped(AnswerFault::HeadersOnly)), "");
        assert_eq!(shaped(AnswerFault::ContentType("text/html".to_owned())).headers[1].1, "text/html");
        assert_eq!(shaped(AnswerFault::NoApnsId).headers.len(), 1);
        assert!(!shaped(AnswerFault::NoEndStream).ends_stream);
        assert_eq!(
            (shaped(AnswerFault::Split(3)).data_frames, shaped(AnswerFault::HeaderFrames(4)).header_frames),
            (3, 4)
        );
        assert_eq!(body(&answer(Err(ApnsReason::Unknown(400)), &[])), r#"{"reason":"UnheardOfReason"}"#);
    }
}
