//! A person who may be asked: questions that wait, and whoever has a terminal answers them.
//!
//! Neighbours: `steps::pause` asks; the `squall` command shows what is pending and answers. Invariant: a question has
//! an answer after its time-out at the latest, and one that is over is not pending.

use crate::experiment::Answer;
use parking_lot::Mutex;
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::sync::oneshot;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The step.
    pub step: String,
    /// What.
    pub question: String,
    /// What happens without an answer.
    pub default: Answer,
}

/// Questions, and where each one's answer goes.
type Waiting = VecDeque<(Question, oneshot::Sender<Answer>)>;

/// Who may be asked; clones share the questions.
#[derive(Debug, Clone)]
pub struct Person {
    is_there: bool,
    /// One a `pause` that runs at this moment.
    asked: Arc<Mutex<Waiting>>,
}

impl Person {
    /// Somebody who looks for what is pending, and answers.
    #[must_use]
    pub fn somebody() -> Self {
        Self { is_there: true, asked: Arc::default() }
    }

    /// Nobody: every question has its default at once.
    #[must_use]
    pub fn nobody() -> Self {
        Self { is_there: false, asked: Arc::default() }
    }

    /// The question that is to be answered now.
    #[must_use]
    pub fn pending(&self) -> Option<Question> {
        let mut asked = self.asked.lock();
        asked.retain(|(_, answer)| !answer.is_closed());
        asked.front().map(|(question, _)| question.clone())
    }

    /// Answers it.
    pub fn answer(&self, answer: Answer) {
        if let Some((_, asked)) = self.asked.lock().pop_front() {
            // It may be over by now, which is as good.
            let _ = asked.send(answer);
        }
    }

    /// The answer, and who gave it.
    pub(super) async fn ask(&self, question: Question, timeout: Duration) -> (Answer, String) {
        let default = question.default;
        if !self.is_there {
            return (default, "nobody is there to ask, so the default".to_owned());
        }
        let (answer, answered) = oneshot::channel();
        self.asked.lock().push_back((question, answer));
        match tokio::time::timeout(timeout, answered).await {
            Ok(Ok(answer)) => (answer, "a person".to_owned()),
            Ok(Err(_)) | Err(_) => {
                (default, format!("no answer within {}, so the default", squall_wire::Span::from(timeout)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Person, Question};
    use crate::experiment::Answer;
    use std::time::Duration;

    fn question() -> Question {
        Question { step: "look".into(), question: "Is it green?".into(), default: Answer::Stop }
    }

    const LIMIT: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn an_answer_counts_and_silence_is_the_default() {
        let person = Person::somebody();
        let asking = tokio::spawn({
            let person = person.clone();
            async move { person.ask(question(), LIMIT).await }
        });
        while person.pending().is_none() {
            tokio::task::yield_now().await;
        }
        person.answer(Answer::Continue);
        assert_eq!(asking.await.unwrap(), (Answer::Continue, "a person".to_owned()));
        let (answer, by) = person.ask(question(), LIMIT).await;
        assert_eq!((answer, by.as_str()), (Answer::Stop, "no answer within 1m, so the default"));
        assert_eq!(person.pending(), None, "it is over");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_answers_at_once() {
        let since = tokio::time::Instant::now();
        assert_eq!(Person::nobody().ask(question(), LIMIT).await.0, Answer::Stop);
        assert_eq!(since.elapsed(), Duration::ZERO);
    }
}
