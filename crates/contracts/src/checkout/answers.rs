//! What has been answered already, so that whoever asks again gets the same answer.

use std::collections::{HashMap, VecDeque};

/// Answers by session and request. The sessions that began first are forgotten first.
#[derive(Debug)]
pub struct Answers<T> {
    sessions_max: usize,
    requests_max: usize,
    sessions: HashMap<String, HashMap<String, T>>,
    oldest_first: VecDeque<String>,
}

/// A session has asked too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("has made {0} requests: no session may make more")]
pub struct TooManyRequests(pub usize);

impl<T: Copy> Answers<T> {
    /// Remembers the latest `sessions_max` sessions, and up to `requests_max` requests of each.
    #[must_use]
    pub fn new(sessions_max: usize, requests_max: usize) -> Self {
        Self { sessions_max, requests_max, sessions: HashMap::new(), oldest_first: VecDeque::new() }
    }

    /// What was answered to this request, if it was.
    #[must_use]
    pub fn get(&self, session: &str, request: &str) -> Option<T> {
        self.sessions.get(session)?.get(request).copied()
    }

    /// Whether one more request of the session can be remembered.
    ///
    /// # Errors
    /// It has made too many.
    pub fn check(&self, session: &str) -> Result<(), TooManyRequests> {
        let count = self.sessions.get(session).map_or(0, HashMap::len);
        if count < self.requests_max { Ok(()) } else { Err(TooManyRequests(count)) }
    }

    /// Remembers an answer. Gives the session that is forgotten for it, if there is one.
    pub fn put(&mut self, session: &str, request: &str, answer: T) -> Option<String> {
        if let Some(answers) = self.sessions.get_mut(session) {
            answers.insert(request.to_owned(), answer);
            return None;
        }
        self.sessions.insert(session.to_owned(), HashMap::from([(request.to_owned(), answer)]));
        self.oldest_first.push_back(session.to_owned());
        if self.oldest_first.len() <= self.sessions_max {
            return None;
        }
        let oldest = self.oldest_first.pop_front()?;
        self.sessions.remove(&oldest);
        Some(oldest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_sessions_are_forgotten() {
        let mut answers = Answers::new(2, 2);
        assert_eq!(answers.put("a", "1", 10), None);
        assert_eq!(answers.put("b", "1", 20), None);
        assert_eq!(
            (answers.get("a", "1"), answers.get("b", "1"), answers.get("a", "2")),
            (Some(10), Some(20), None)
        );
        assert_eq!(answers.check("a"), Ok(()));
        assert_eq!(answers.put("a", "2", 11), None);
        assert_eq!(answers.check("a"), Err(TooManyRequests(2)));
        assert_eq!(answers.put("c", "1", 30), Some("a".to_owned()));
        assert_eq!((answers.get("a", "1"), answers.get("c", "1")), (None, Some(30)));
    }
}
