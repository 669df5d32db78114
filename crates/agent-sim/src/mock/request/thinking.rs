//! How much of its answer a request lets the model think.

use serde_json::value::RawValue;

use super::{Part, part, tag};

/// The smallest budget that the API allows.
const LEAST_BUDGET: u64 = 1024;

const KINDS: &str = "'enabled', 'disabled', 'between_tools', 'adaptive'";

/// What a request says of thinking.
pub(super) enum Thinking {
    /// Not at all.
    Disabled,
    /// At most so many tokens.
    Enabled(u64),
    /// As much as the model likes.
    Adaptive,
    /// The same, where the result of a tool is brought.
    BetweenTools,
}

impl Thinking {
    /// Reads and checks it; the error is the message of a 400. `max_tokens` is absent where
    /// tokens are only counted.
    pub(super) fn read(
        raw: Option<&RawValue>,
        max_tokens: Option<u64>,
    ) -> Result<Thinking, String> {
        let Some(raw) = raw else { return Ok(Thinking::Disabled) };
        let thinking: Part<'_> = part(raw).ok_or("thinking: Input should be an object")?;
        match tag("thinking", thinking.kind, KINDS)?.as_ref() {
            "disabled" => Ok(Thinking::Disabled),
            "adaptive" => Ok(Thinking::Adaptive),
            "between_tools" => Ok(Thinking::BetweenTools),
            _ => budget(thinking.budget_tokens, max_tokens).map(Thinking::Enabled),
        }
    }

    /// How many of `output` tokens are a thought: half, and no more than the budget.
    pub(super) fn tokens(&self, output: u64, is_answered: bool) -> u64 {
        match self {
            Thinking::Enabled(budget) => (output / 2).min(*budget),
            Thinking::Adaptive => output / 2,
            Thinking::BetweenTools if is_answered => output / 2,
            Thinking::BetweenTools | Thinking::Disabled => 0,
        }
    }
}

fn budget(given: Option<&RawValue>, max_tokens: Option<u64>) -> Result<u64, String> {
    let wrong = |says: &str| Err(format!("thinking.enabled.budget_tokens: {says}"));
    let Some(given) = given else { return wrong("Field required") };
    let Ok(number) = given.get().parse::<i64>() else {
        return wrong("Input should be a valid integer");
    };
    match u64::try_from(number) {
        Ok(budget) if budget >= LEAST_BUDGET => {
            if max_tokens.is_some_and(|max_tokens| budget >= max_tokens) {
                return Err("`max_tokens` must be greater than `thinking.budget_tokens`. Please \
                            consult our documentation at https://docs.claude.com/en/docs/\
                            build-with-claude/extended-thinking#max-tokens-and-context-window-size"
                    .to_owned());
            }
            Ok(budget)
        }
        _ => wrong("Input should be greater than or equal to 1024"),
    }
}
