//! `GET /v1/models`: which models there are.

use agent_core::pricing::Catalogue;
use serde::Serialize;

use super::Scenario;

/// Models on one page, unless the client asks for another number.
const PAGE: usize = 20;
const LARGEST_PAGE: usize = 1000;

/// When a model came out; the mock provider knows of none.
const UNKNOWN_DAY: &str = "1970-01-01T00:00:00Z";

/// A model as the API shows it.
#[derive(Debug, Serialize)]
pub(super) struct Model {
    #[serde(rename = "type")]
    kind: &'static str,
    id: String,
    display_name: String,
    created_at: &'static str,
    lifecycle: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_input_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
}

/// One page of the list.
#[derive(Debug, Serialize)]
pub(super) struct Page {
    data: Vec<Model>,
    has_more: bool,
    first_id: Option<String>,
    last_id: Option<String>,
}

/// The names of all models: those of the scenario, else the Anthropic models with a known price.
fn names(scenario: &Scenario) -> Vec<String> {
    if !scenario.models.is_empty() {
        return scenario.models.clone();
    }
    let catalogue = Catalogue::builtin();
    let models = catalogue.models().filter(|model| model.provider() == "anthropic");
    models.map(|model| model.name().to_owned()).collect()
}

fn model(id: String) -> Model {
    let catalogue = Catalogue::builtin();
    let known = catalogue.resolve(&id);
    Model {
        kind: "model",
        display_name: display_name(&id),
        created_at: UNKNOWN_DAY,
        lifecycle: "active",
        max_input_tokens: known.and_then(|model| model.context_window()),
        max_tokens: known.and_then(|model| model.max_output()),
        id,
    }
}

/// `claude-haiku-4-5` is Claude Haiku 4 5.
fn display_name(id: &str) -> String {
    let word = |word: &str| {
        let mut chars = word.chars();
        chars.next().into_iter().flat_map(char::to_uppercase).chain(chars).collect::<String>()
    };
    id.split('-').map(word).collect::<Vec<_>>().join(" ")
}

/// The page that `query` asks for with `limit`, `after_id` and `before_id`; the error is the
/// message of a 400.
pub(super) fn page(scenario: &Scenario, query: &str) -> Result<Page, String> {
    let asked = |name| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let limit = match asked("limit") {
        None => PAGE,
        Some(text) => text
            .parse()
            .ok()
            .filter(|limit| (1..=LARGEST_PAGE).contains(limit))
            .ok_or("limit: Input should be from 1 to 1000")?,
    };
    let names = names(scenario);
    let place = |id: &str| names.iter().position(|name| name == id);
    let start = asked("after_id").and_then(place).map_or(0, |at| at + 1);
    let end = asked("before_id").and_then(place).unwrap_or(names.len());
    let (mut start, mut end) = (start, end.max(start));
    let has_more = end - start > limit;
    if asked("before_id").is_some() && asked("after_id").is_none() {
        start = start.max(end.saturating_sub(limit));
    }
    end = end.min(start + limit);
    let data: Vec<Model> = names[start..end].iter().cloned().map(model).collect();
    let first_id = data.first().map(|model| model.id.clone());
    let last_id = data.last().map(|model| model.id.clone());
    Ok(Page { data, has_more, first_id, last_id })
}

/// The model `id`, where there is one.
pub(super) fn one(scenario: &Scenario, id: &str) -> Option<Model> {
    let is_known = !scenario.models.is_empty() || Catalogue::builtin().resolve(id).is_some();
    (is_known && exists(scenario, id)).then(|| model(id.to_owned()))
}

/// Whether calls may name `model`.
pub(super) fn exists(scenario: &Scenario, model: &str) -> bool {
    if !scenario.models.is_empty() {
        return scenario.models.iter().any(|name| name == model);
    }
    // A bill that is limited in dollars needs a price.
    scenario.spend_limit_usd.is_none() || Catalogue::builtin().resolve(model).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_join_to_the_whole_list_in_either_direction() {
        let models = ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec();
        let scenario = Scenario { models: models.clone(), ..Scenario::default() };
        let ids = |page: &Page| page.data.iter().map(|m| m.id.clone()).collect::<Vec<_>>();
        let mut seen = Vec::new();
        let mut query = "limit=2".to_owned();
        loop {
            let page = page(&scenario, &query).unwrap();
            seen.extend(ids(&page));
            if !page.has_more {
                break;
            }
            query = format!("limit=2&after_id={}", page.last_id.unwrap());
        }
        assert_eq!(seen, models);
        let last = page(&scenario, "before_id=d&limit=2").unwrap();
        assert_eq!((ids(&last), last.has_more), (vec!["b".to_owned(), "c".to_owned()], true));
        assert!(page(&scenario, "limit=0").is_err());
    }

    #[test]
    fn without_a_list_all_anthropic_models_are_shown_and_any_name_is_accepted() {
        let scenario = Scenario::default();
        let page = page(&scenario, "limit=1000").unwrap();
        assert!(page.data.iter().any(|model| model.id == "claude-haiku-4-5"));
        assert!(exists(&scenario, "m"));
        let spend_limit_usd = "1".parse().ok();
        assert!(!exists(&Scenario { spend_limit_usd, ..Scenario::default() }, "m"));
    }
}
