//! Requests that are sent again: the same key gets the same answer, and nothing is published twice.
//!
//! The header is `Idempotency-Key`. Source: draft-ietf-httpapi-idempotency-key-header.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
    sync::Mutex,
    time::Duration,
};

use axum::body::Bytes;
use http::{HeaderMap, StatusCode};
use wse_client_core::{error::Code, time::Moment};

use super::{ApiError, request::bad};
use crate::sync::lock;

/// How long an answer is remembered.
const REMEMBERED: Duration = Duration::from_secs(600);

/// Most answers that are remembered; the oldest give way.
const MAX_ANSWERS: usize = 10_000;

/// Most bytes of answers and keys together.
const MAX_BYTES: usize = 16 << 20;

/// Longest key in bytes.
const MAX_KEY: usize = 255;

/// Keys of one part are handled one after the other, so that two requests with one key cannot both be the first.
const PARTS: usize = 16;

/// Answers of the last minutes.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    hasher: RandomState,
    parts: [Mutex<Part>; PARTS],
}

#[derive(Debug, Default)]
struct Part {
    answers: HashMap<String, Answer>,
    /// Keys by age. An answer that was forgotten leaves no key behind.
    order: VecDeque<(Moment, String)>,
    bytes: usize,
}

#[derive(Debug)]
struct Answer {
    /// Of the body that it answers.
    fingerprint: u64,
    body: Bytes,
}

/// What a request gets.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) body: Bytes,
    /// It was answered before, and this is that answer.
    pub(super) repeated: bool,
}

/// The key of a request, if it has one.
pub(super) fn key(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    match value.to_str() {
        Ok(key) if (1..=MAX_KEY).contains(&key.len()) => Ok(Some(key)),
        _ => Err(bad(format!("Idempotency-Key must have 1 to {MAX_KEY} visible ASCII characters"))),
    }
}

impl Answers {
    /// Does `work` for the first request with this key, and gives later ones its answer. What failed is not remembered:
    /// it may be tried again with the same key.
    pub(super) fn once(
        &self,
        key: &str,
        request: &[u8],
        now: Moment,
        work: impl FnOnce() -> Result<Bytes, ApiError>,
    ) -> Result<Outcome, ApiError> {
        let part = self.hasher.hash_one(key) as usize % PARTS;
        let mut part = lock(&self.parts[part]);
        part.forget(now);
        let fingerprint = self.hasher.hash_one(request);
        if let Some(answer) = part.answers.get(key) {
            if answer.fingerprint != fingerprint {
                let message = "this Idempotency-Key came with another body before";
                return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, Code::InvalidRequest, message));
            }
            return Ok(Outcome { body: answer.body.clone(), repeated: true });
        }
        let body = work()?;
        part.remember(key, Answer { fingerprint, body: body.clone() }, now);
        Ok(Outcome { body, repeated: false })
    }
}

impl Part {
    fn remember(&mut self, key: &str, answer: Answer, now: Moment) {
        self.bytes += cost(key, &answer);
        self.order.push_back((now, key.to_owned()));
        self.answers.insert(key.to_owned(), answer);
        while self.answers.len() > MAX_ANSWERS / PARTS || (self.bytes > MAX_BYTES / PARTS && self.answers.len() > 1) {
            self.pop();
        }
    }

    fn forget(&mut self, now: Moment) {
        while self.order.front().is_some_and(|(at, _)| now.since(*at) > REMEMBERED) {
            self.pop();
        }
    }

    fn pop(&mut self) {
        let Some((_, key)) = self.order.pop_front() else { return };
        if let Some(answer) = self.answers.remove(&key) {
            self.bytes -= cost(&key, &answer);
        }
    }
}

/// The key is held twice.
fn cost(key: &str, answer: &Answer) -> usize {
    2 * key.len() + answer.body.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment::ORIGIN;

    fn answer(answers: &Answers, key: &str, request: &str, now: Moment) -> Result<(Bytes, bool), ApiError> {
        let work = || Ok(Bytes::from(format!("to {request}")));
        answers.once(key, request.as_bytes(), now, work).map(|outcome| (outcome.body, outcome.repeated))
    }

    #[test]
    fn the_work_is_done_once() {
        let answers = Answers::default();
        assert_eq!(answer(&answers, "k", "a", NOW).expect("done"), ("to a".into(), false));
        assert_eq!(answer(&answers, "k", "a", NOW).expect("known"), ("to a".into(), true));
        assert_eq!(answer(&answers, "other", "a", NOW).expect("done"), ("to a".into(), false));
        answer(&answers, "k", "b", NOW).expect_err("another body");
    }

    #[test]
    fn what_failed_may_be_tried_again() {
        let answers = Answers::default();
        answers.once("k", b"a", NOW, || Err(bad("no"))).expect_err("failed");
        assert_eq!(answer(&answers, "k", "a", NOW).expect("done"), ("to a".into(), false));
    }

    #[test]
    fn answers_are_forgotten_by_age() {
        let answers = Answers::default();
        answer(&answers, "k", "a", NOW).expect("done");
        assert!(answer(&answers, "k", "a", NOW + REMEMBERED).expect("known").1);
        let later = NOW + REMEMBERED + Duration::from_millis(1);
        assert_eq!(answer(&answers, "k", "b", later).expect("done"), ("to b".into(), false));
    }

    #[test]
    fn memory_is_bounded() {
        let answers = Answers::default();
        (0..3 * MAX_ANSWERS).for_each(|n| drop(answer(&answers, &n.to_string(), "a", NOW)));
        let held: usize = answers.parts.iter().map(|part| lock(part).answers.len()).sum();
        assert!(held <= MAX_ANSWERS, "{held}");
        for n in 0..100 {
            let large = || Ok(Bytes::from(vec![0; MAX_BYTES / PARTS / 2]));
            answers.once(&format!("large {n}"), b"a", NOW, large).expect("done");
        }
        for part in &answers.parts {
            let part = lock(part);
            assert!(part.bytes <= MAX_BYTES / PARTS, "{}", part.bytes);
            assert_eq!(part.answers.len(), part.order.len());
        }
    }
}
