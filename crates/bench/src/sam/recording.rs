//! Recorded sessions as text: transcripts and calls.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use agentinfer_protocol::{Message, Role};
use serde::Deserialize;

use crate::BenchError;
use crate::recorded::{TextCall, files, lines, name, read};

/// How many sessions of one task are played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trials {
    /// The first so many. Repeats of the same task flatter every drafter that remembers.
    First(usize),
    /// All.
    All,
}

impl fmt::Display for Trials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First(count) => count.fmt(f),
            Self::All => f.write_str("all"),
        }
    }
}

impl FromStr for Trials {
    type Err = String;

    /// # Errors
    /// What may be chosen, when it is something else.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(count) if count > 0 => Ok(Self::First(count)),
            _ if text == "all" => Ok(Self::All),
            _ => Err("choose a number of sessions per task, from 1, or all".to_owned()),
        }
    }
}

/// A file of transcripts, or a trace of calls.
#[derive(Clone, Debug)]
pub(crate) struct Recording {
    /// The file's or folder's name without extension.
    pub(crate) name: String,
    /// In order of arrival; each has a call at least.
    pub(crate) sessions: Vec<TextSession>,
}

/// A session as text.
#[derive(Clone, Debug)]
pub(crate) struct TextSession {
    /// What the recording calls it.
    pub(crate) name: String,
    /// Several sessions may try the same task.
    pub(crate) task: String,
    pub(crate) turns: Turns,
}

/// What was said in a session.
#[derive(Clone, Debug)]
pub(crate) enum Turns {
    /// One conversation; each message of the assistant answers those before it.
    Messages(Vec<Message>),
    /// Calls with their own prompts, in order of time.
    Calls(Vec<TextCall>),
}

/// A session of a transcript; other fields are not looked at.
#[derive(Deserialize)]
struct Row {
    session: String,
    task: String,
    messages: Vec<Message>,
}

impl Recording {
    /// Reads a file of transcripts: one session a row, in order of arrival. Sessions in which the
    /// model says nothing are left out.
    ///
    /// # Errors
    /// [`BenchError::Read`], and [`BenchError::Trace`] for a malformed line and for no session.
    pub(crate) fn transcripts(path: &Path) -> Result<Self, BenchError> {
        let content = read(path)?;
        let mut sessions = Vec::new();
        for line in lines(path, &content) {
            let row: Row = line.parse()?;
            let answers = row.messages.iter().skip(1);
            if answers.filter(|it| it.role == Role::Assistant).count() > 0 {
                sessions.push(TextSession {
                    name: row.session,
                    task: row.task,
                    turns: Turns::Messages(row.messages),
                });
            }
        }
        Self::new(path, sessions)
    }

    /// Reads recorded calls of a file, or of all `.jsonl` files of a folder. Every session is a
    /// task of its own.
    ///
    /// # Errors
    /// As for transcripts.
    pub(crate) fn calls(path: &Path) -> Result<Self, BenchError> {
        let mut sessions: BTreeMap<String, Vec<TextCall>> = BTreeMap::new();
        for file in files(path)? {
            let content = read(&file)?;
            for line in lines(&file, &content) {
                let call = TextCall::read(&line)?;
                let calls = sessions.entry(call.session_id.clone()).or_default();
                calls.push(call);
            }
        }
        let mut sessions: Vec<(String, Vec<TextCall>)> = sessions.into_iter().collect();
        for (_, calls) in &mut sessions {
            calls.sort_by_key(|call| call.timestamp);
        }
        sessions.sort_by_key(|(_, calls)| calls[0].timestamp);
        let sessions = sessions.into_iter().map(|(name, calls)| TextSession {
            task: name.clone(),
            name,
            turns: Turns::Calls(calls),
        });
        Self::new(path, sessions.collect())
    }

    fn new(path: &Path, sessions: Vec<TextSession>) -> Result<Self, BenchError> {
        if sessions.is_empty() {
            return Err(BenchError::Trace {
                path: path.to_owned(),
                line: 1,
                message: "there is no answer of a model in it".to_owned(),
            });
        }
        Ok(Self {
            name: name(path),
            sessions,
        })
    }

    /// The sessions that are played: so many of each task, and of those the first `limit`.
    pub(crate) fn chosen(&self, trials: Trials, limit: Option<usize>) -> Vec<&TextSession> {
        let most = match trials {
            Trials::First(most) => most,
            Trials::All => usize::MAX,
        };
        let mut tried: BTreeMap<&str, usize> = BTreeMap::new();
        let chosen = self.sessions.iter().filter(|session| {
            let count = tried.entry(&session.task).or_default();
            *count += 1;
            *count <= most
        });
        chosen.take(limit.unwrap_or(usize::MAX)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(rows: &[serde_json::Value]) -> tempfile::NamedTempFile {
        let rows: String = rows.iter().map(|row| format!("{row}\n")).collect();
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), rows).expect("can be written");
        file
    }

    fn transcript(session: &str, task: &str, roles: &[&str]) -> serde_json::Value {
        let message = |role: &&str| serde_json::json!({"role": role, "content": "text"});
        let messages: Vec<_> = roles.iter().map(message).collect();
        serde_json::json!({"session": session, "task": task, "trial": 3, "messages": messages})
    }

    fn call(session: &str, timestamp: u64, input: &str) -> serde_json::Value {
        serde_json::json!({
            "session_id": session, "timestamp": timestamp, "input": input, "output": "said",
        })
    }

    #[test]
    fn transcripts_are_chosen_by_task_not_by_row() {
        let turns = ["user", "assistant"];
        let file = file(&[
            transcript("a-0", "a", &turns),
            transcript(
                "b-0",
                "b",
                &["system", "user", "assistant", "tool", "assistant"],
            ),
            transcript("mute", "c", &["assistant", "user"]),
            transcript("a-1", "a", &turns),
            transcript("b-1", "b", &turns),
            transcript("a-2", "a", &turns),
        ]);
        let recording = Recording::transcripts(file.path()).expect("reads");
        for (trials, limit, expected) in [
            (Trials::First(1), None, "a-0 b-0"),
            (Trials::First(2), None, "a-0 b-0 a-1 b-1"),
            (Trials::All, None, "a-0 b-0 a-1 b-1 a-2"),
            (Trials::All, Some(3), "a-0 b-0 a-1"),
        ] {
            let chosen = recording.chosen(trials, limit);
            let names: Vec<&str> = chosen.iter().map(|session| &session.name[..]).collect();
            assert_eq!(names.join(" "), expected, "{trials} {limit:?}");
        }
    }

    #[test]
    fn calls_of_a_folder_become_sessions_in_order_of_time() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, rows) in [
            (
                "1.jsonl",
                [call("late", 50, "x"), call("early", 30, "second")],
            ),
            (
                "2.jsonl",
                [call("early", 10, "first"), call("late", 40, "y")],
            ),
        ] {
            let rows = rows.map(|row| row.to_string()).join("\n");
            std::fs::write(folder.path().join(name), rows).expect("can be written");
        }
        let recording = Recording::calls(folder.path()).expect("reads");
        let told = |session: &TextSession| match &session.turns {
            Turns::Calls(calls) => calls.iter().map(|call| call.input.clone()).collect(),
            Turns::Messages(_) => vec![],
        };
        let told: Vec<_> = recording.sessions.iter().map(told).collect();
        assert_eq!(told, [["first", "second"], ["y", "x"]]);
    }

    #[test]
    fn what_is_malformed_is_named_with_its_line() {
        let sound = transcript("a", "a", &["user", "assistant"]);
        for (rows, says) in [
            (
                vec![sound, serde_json::json!({"session": "b"})],
                "line 2: missing field `task`",
            ),
            (vec![], "no answer of a model"),
            (
                vec![transcript("a", "a", &["user", "narrator"])],
                "line 1: unknown variant",
            ),
        ] {
            let file = file(&rows);
            let error = Recording::transcripts(file.path()).expect_err(says);
            assert!(error.to_string().contains(says), "{error}");
        }
        let file = file(&[call("a", 1, "")]);
        let error = Recording::calls(file.path()).expect_err("no input");
        assert!(error.to_string().contains("line 1: input"), "{error}");
        for text in ["0", "some", "-1"] {
            assert!(text.parse::<Trials>().is_err(), "{text}");
        }
    }
}
