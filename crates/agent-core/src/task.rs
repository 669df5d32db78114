//! Tasks as they are given, and the outcomes that they end in.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::de::{Error as _, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::clock::Timestamp;

mod outcome;

pub use outcome::{ErrorCode, Outcome, Status, TaskError};

/// Names a task within a run; read from a JSON number or string, written as a string.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct TaskId(Arc<str>);

impl TaskId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id as text, shared.
    pub(crate) fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<T: Into<Arc<str>>> From<T> for TaskId {
    fn from(id: T) -> TaskId {
        TaskId(id.into())
    }
}

impl<'de> Deserialize<'de> for TaskId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<TaskId, D::Error> {
        struct Id;
        impl Visitor<'_> for Id {
            type Value = TaskId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an id, a string or a number")
            }
            fn visit_str<E: serde::de::Error>(self, id: &str) -> Result<TaskId, E> {
                if id.trim().is_empty() {
                    return Err(E::invalid_value(Unexpected::Str(id), &"an id that is not empty"));
                }
                Ok(id.into())
            }
            fn visit_u64<E: serde::de::Error>(self, id: u64) -> Result<TaskId, E> {
                Ok(id.to_string().into())
            }
            fn visit_i64<E: serde::de::Error>(self, id: i64) -> Result<TaskId, E> {
                Ok(id.to_string().into())
            }
            fn visit_f64<E: serde::de::Error>(self, id: f64) -> Result<TaskId, E> {
                number(id).map(TaskId::from).ok_or_else(|| E::custom(INEXACT))
            }
        }
        if deserializer.is_human_readable() {
            deserializer.deserialize_any(Id)
        } else {
            deserializer.deserialize_str(Id)
        }
    }
}

/// How urgent a task is; the more urgent is fed to a worker first.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// After all others.
    Low,
    /// The default.
    #[default]
    Normal,
    /// Before all others.
    High,
}

/// When a task must have ended: so long after submission, or at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deadline {
    /// So long after the task was submitted; `"10m"`.
    After(Duration),
    /// At this moment; `"2026-11-24T10:00:00Z"`.
    At(Timestamp),
}

impl Deadline {
    /// The moment, for a task submitted at `submitted`.
    pub fn moment(self, submitted: Timestamp) -> Timestamp {
        match self {
            Deadline::After(duration) => submitted + duration,
            Deadline::At(moment) => moment,
        }
    }
}

impl FromStr for Deadline {
    type Err = DeadlineError;

    fn from_str(text: &str) -> Result<Deadline, DeadlineError> {
        if let Ok(duration) = humantime::parse_duration(text) {
            return Ok(Deadline::After(duration));
        }
        text.parse().map(Deadline::At).map_err(|_| DeadlineError)
    }
}

/// A text that is neither a duration nor a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("neither a duration such as \"10m\" nor a time such as \"2026-11-24T10:00:00Z\"")]
pub struct DeadlineError;

impl Serialize for Deadline {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Deadline::After(duration) => {
                serializer.collect_str(&humantime::format_duration(*duration))
            }
            Deadline::At(moment) => {
                serializer.collect_str(&format_args!("{:.9}", moment.to_jiff()))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Deadline {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Deadline, D::Error> {
        Cow::<'_, str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// One piece of work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// Its name, unique within a run.
    pub id: TaskId,
    /// A line that says what is wanted. Absent: [`Task::UNTITLED`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The whole of what is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Who pays: the scope `project:…`. Read from a string or a number; blank is absent.
    #[serde(default, deserialize_with = "named", skip_serializing_if = "Option::is_none")]
    pub project_id: Option<String>,
    /// On whose behalf: the scope `user:…`. Read from a string or a number; blank is absent.
    #[serde(default, deserialize_with = "named", skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// A model other than the agent's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// A limit on the output, in tokens, other than the agent's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// How urgent it is.
    #[serde(default, deserialize_with = "or_default")]
    pub priority: Priority,
    /// When it must have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Deadline>,
    /// The agent that must play it. Absent: any idle worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Whatever the submitter wants to find again; not sent to a provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<serde_json::Map<String, serde_json::Value>>,
}

/// From here on, numbers with a point or an exponent do not tell all whole numbers apart.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// What is wrong with a number that [`number`] has no text for.
pub(crate) const INEXACT: &str = "is a number of which digits would be lost; write it in quotes";

/// A number that was not written as a whole one, as a name: `1.5`, and `1000` for `1e3`. `None`
/// where it may be another number than was written.
pub(crate) fn number(number: f64) -> Option<String> {
    // What is added is nothing, but that no zero is negative.
    (number.abs() < EXACT).then(|| (number + 0.0).to_string())
}

/// A name; one that is blank is none.
pub(crate) fn name(text: String) -> Option<String> {
    Some(text).filter(|text| !text.trim().is_empty())
}

fn named<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Name {
        Text(String),
        Whole(u64),
        Negative(i64),
        Number(f64),
    }
    Ok(match Option::<Name>::deserialize(deserializer)? {
        None => None,
        Some(Name::Text(text)) => name(text),
        Some(Name::Whole(number)) => Some(number.to_string()),
        Some(Name::Negative(number)) => Some(number.to_string()),
        Some(Name::Number(given)) => Some(number(given).ok_or_else(|| D::Error::custom(INEXACT))?),
    })
}

/// What is null is absent.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Task {
    /// The title of a task that has none.
    pub const UNTITLED: &'static str = "Untitled";

    /// A task of which only the id and the title are given.
    pub fn new(id: impl Into<TaskId>, title: impl Into<String>) -> Task {
        Task {
            id: id.into(),
            title: Some(title.into()),
            description: None,
            project_id: None,
            user_id: None,
            model: None,
            max_tokens: None,
            priority: Priority::default(),
            deadline: None,
            agent: None,
            metadata: None,
        }
    }

    /// Reads a task from a JSON object.
    ///
    /// # Errors
    ///
    /// Where it is no object, has no id, a key is unknown or a value has the wrong type.
    pub fn from_json(json: &str) -> Result<Task, serde_json::Error> {
        serde_json::from_str(json)
    }

    /// The title, or [`Task::UNTITLED`] where it is absent or blank.
    pub fn title(&self) -> &str {
        self.title.as_deref().filter(|title| !title.trim().is_empty()).unwrap_or(Task::UNTITLED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_numbers_or_strings_and_absent_fields_are_allowed() {
        assert_eq!(Task::from_json(r#"{"id":42}"#).unwrap().id, TaskId::from("42"));
        let task = Task::from_json(r#"{"id":"a","title":"  "}"#).unwrap();
        assert_eq!((task.title(), task.priority), (Task::UNTITLED, Priority::Normal));
        for bad in [r#"{}"#, r#"{"id":""}"#, r#"{"id":true}"#, r#"{"id":1,"tilte":"x"}"#, "[]"] {
            assert!(Task::from_json(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_id_is_any_number_of_which_no_digit_is_lost() {
        for (number, text) in [
            ("1.5", "1.5"),
            ("1e3", "1000"),
            ("-2.50", "-2.5"),
            ("-0", "0"),
            ("18446744073709551615", "18446744073709551615"),
            ("-9223372036854775808", "-9223372036854775808"),
        ] {
            let line = format!(r#"{{"id":{number},"project_id":{number},"user_id":{number}}}"#);
            let task = Task::from_json(&line).unwrap();
            let names = (task.id.as_str(), task.project_id.as_deref(), task.user_id.as_deref());
            assert_eq!(names, (text, Some(text), Some(text)));
        }
        for lost in ["18446744073709551616", "9007199254740993.0", "1e300"] {
            for line in [
                format!(r#"{{"id":{lost}}}"#),
                format!(r#"{{"id":1,"project_id":{lost}}}"#),
                format!(r#"{{"id":1,"user_id":{lost}}}"#),
            ] {
                assert!(Task::from_json(&line).is_err(), "{line}");
            }
        }
    }

    #[test]
    fn a_project_and_a_user_may_be_numbers_and_whatever_is_optional_may_be_null() {
        let task = Task::from_json(r#"{"id":1,"project_id":7,"user_id":-2}"#).unwrap();
        assert_eq!((task.project_id.as_deref(), task.user_id.as_deref()), (Some("7"), Some("-2")));
        let nulls = r#"{"id":"1","title":null,"description":null,"project_id":null,
            "user_id":null,"model":null,"max_tokens":null,"priority":null,"deadline":null,
            "agent":null,"metadata":null}"#;
        let absent = Task { title: None, ..Task::new("1", "") };
        assert_eq!(Task::from_json(nulls).unwrap(), absent);
        assert!(Task::from_json(r#"{"id":1,"project_id":["web"]}"#).is_err());
    }

    #[test]
    fn a_deadline_is_a_duration_or_a_moment_and_survives_a_round_trip() {
        for text in ["10m", "1h 30m", "2026-11-24T10:00:00.000000000Z"] {
            let deadline: Deadline = text.parse().unwrap();
            let json = serde_json::to_string(&deadline).unwrap();
            assert_eq!(serde_json::from_str::<Deadline>(&json).unwrap(), deadline);
        }
        assert!("soon".parse::<Deadline>().is_err());
    }
}
