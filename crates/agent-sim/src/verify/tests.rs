//! Runs in virtual time, simulated again.

use std::cell::OnceCell;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent_core::clock::{Clock, VirtualClock};
use agent_core::llm::{Answer, LlmClient, LlmError, LlmErrorKind, Request};
use agent_core::store::{Entry, PastTask};
use futures_util::future::LocalBoxFuture;

use super::*;
use crate::calibrate::Failed;
use crate::engine::{ScriptedProvider, run, simulate};
use crate::scenario::Scenario;

/// How a provider refuses a request.
#[derive(Debug, Clone, Copy)]
struct Refusal {
    kind: LlmErrorKind,
    status: u16,
    after: Duration,
    retry_after: Option<Duration>,
}

const OVERLOADED: Refusal = Refusal {
    kind: LlmErrorKind::Overloaded,
    status: 529,
    after: Duration::from_millis(100),
    retry_after: None,
};
const LIMITED: Refusal = Refusal {
    kind: LlmErrorKind::RateLimited,
    status: 429,
    retry_after: Some(Duration::from_secs(5)),
    ..OVERLOADED
};
const SLOW: Refusal =
    Refusal { after: Duration::from_secs(2), retry_after: Some(Duration::from_secs(1)), ..LIMITED };

/// A provider that refuses some requests.
#[derive(Debug)]
struct Refusing {
    inner: ScriptedProvider,
    clock: Clock,
    refusal: Refusal,
    share: f64,
    random: Mutex<fastrand::Rng>,
}

impl LlmClient for Refusing {
    fn complete<'a>(
        &'a self,
        request: &'a Request,
    ) -> LocalBoxFuture<'a, Result<Answer, LlmError>> {
        Box::pin(async move {
            if self.random.lock().unwrap().f64() >= self.share {
                return self.inner.complete(request).await;
            }
            let Refusal { kind, status, after, retry_after } = self.refusal;
            self.clock.sleep(after).await;
            let mut error = LlmError::new(kind, "not now");
            (error.status, error.retry_after) = (Some(status), retry_after);
            Err(error)
        })
    }

    fn provider(&self) -> &str {
        "refusing"
    }
}

/// What a store would have of a run.
#[derive(Debug)]
struct Played {
    run: PastRun,
    records: Vec<UsageRecord>,
    failures: Vec<Failed>,
}

const SCENARIO: &str = r#"
[simulated]
latency = { base = "1s", per_output_token = "10ms", sigma = 0.2 }
[[agent]]
name = "clerk"
model = "claude-haiku-4-5"
count = 8
rate_limit = { calls = 1000 }
[[workload]]
name = "letter"
count = 150
"#;

fn scenario() -> Scenario {
    Scenario::parse(SCENARIO).unwrap()
}

/// Plays a scenario at a provider that refuses such a `share` of all requests.
fn played(scenario: &Scenario, refusal: Refusal, share: f64, seed: u64) -> Played {
    let entries: Arc<Mutex<Vec<Entry>>> = Arc::default();
    let seen = Arc::clone(&entries);
    let see = move |new: &[Entry]| seen.lock().unwrap().extend_from_slice(new);
    let start = scenario.run.start;
    VirtualClock::run(start, |clock| async move {
        let inner = ScriptedProvider::new(scenario, seed, clock.clone());
        let random = Mutex::new(fastrand::Rng::with_seed(seed));
        let client = Refusing { inner, clock: clock.clone(), refusal, share, random };
        run(scenario, seed, clock, client, &OnceCell::new(), see).await
    })
    .unwrap();
    let (run_id, fleet, tasks) = ("r".into(), None, Vec::new());
    let run = PastRun { run_id, started_at: start, parts: 1, fleet, tasks };
    let mut played = Played { run, records: Vec::new(), failures: Vec::new() };
    entries.lock().unwrap().iter().for_each(|entry| played.file(entry));
    played
}

impl Played {
    fn file(&mut self, entry: &Entry) {
        match entry {
            Entry::TaskAccepted { at, task, .. } => {
                let task = Arc::clone(task);
                self.run.tasks.push(PastTask { accepted_at: *at, task, outcome: None });
            }
            Entry::TaskEnded { outcome, .. } => {
                let mut tasks = self.run.tasks.iter_mut();
                let task = tasks.find(|it| it.task.id == outcome.task_id).unwrap();
                task.outcome = Some(Arc::clone(outcome));
            }
            Entry::AttemptClosed(record) if record.is_usage() => self.records.push(record.clone()),
            Entry::Audit(event) => self.failures.extend(Failed::of(event.clone())),
            _ => {}
        }
    }

    /// Simulated again, with a provider whose latency is known.
    fn compared(&self, scenario: &Scenario) -> Vec<Compared> {
        let (fleet, seed_count) = (Some(scenario.fleet.clone()), NonZeroU32::new(5).unwrap());
        let known = (&*self.records, &*self.failures);
        let models = Catalogue::builtin().clone();
        let mut built = rebuild(&self.run, known, fleet, models, seed_count).unwrap();
        built.scenario.provider = scenario.provider.clone();
        let jobs: Vec<_> = seeds(&built.scenario).map(|seed| (&built.scenario, seed)).collect();
        let replicas = simulate_all(&jobs).unwrap();
        let predicted: Vec<Figures> = replicas.iter().map(Figures::predicted).collect();
        Compared::all(&predicted, &built.real)
    }
}

#[test]
fn a_run_of_which_a_tenth_is_refused_takes_as_long_again() {
    let scenario = scenario();
    for refusal in [OVERLOADED, LIMITED, SLOW] {
        let (mut makespan, mut mean) = (0.0, 0.0);
        for seed in 1..=3 {
            let played = played(&scenario, refusal, 0.1, seed);
            assert!(played.failures.len() > 8, "{}", played.failures.len());
            let compared = played.compared(&scenario);
            let error = |name| {
                let figure = compared.iter().find(|figure| figure.name == name).unwrap();
                figure.error().unwrap()
            };
            assert_eq!((error("attempts"), error("cost_usd")), (0.0, 0.0), "{compared:?}");
            makespan += error("makespan_ms").abs() / 3.0;
            mean += error("task_mean_ms").abs() / 3.0;
        }
        assert!(makespan < 0.05 && mean < 0.05, "{refusal:?}: {makespan} {mean}");
    }
}

#[test]
fn a_task_that_was_always_refused_is_played_again_and_ends_alike() {
    let scenario = scenario();
    let played = played(&scenario, OVERLOADED, 0.6, 1);
    let failed = played.run.tasks.iter().filter_map(|task| task.outcome.as_ref());
    let failed = failed.filter(|outcome| outcome.error.is_some()).count();
    assert!(failed > 20, "{failed}");
    let (known, seeds) = ((&*played.records, &*played.failures), NonZeroU32::MIN);
    let fleet = Some(scenario.fleet.clone());
    let built = rebuild(&played.run, known, fleet, Catalogue::builtin().clone(), seeds).unwrap();
    let again = simulate(&built.scenario, 0).unwrap();
    assert_eq!((again.arrived, again.failed as usize), (150, failed));
}

#[test]
fn that_the_calls_of_a_run_are_so_short_that_all_else_weighs_is_told() {
    let told = |base: &str| {
        let text = SCENARIO.replace("base = \"1s\", per_output_token = \"10ms\"", base);
        let scenario = Scenario::parse(&text).unwrap();
        let played = played(&scenario, OVERLOADED, 0.0, 1);
        let (known, fleet) = ((&*played.records, &*played.failures), scenario.fleet.clone());
        let models = Catalogue::builtin().clone();
        rebuild(&played.run, known, Some(fleet), models, NonZeroU32::MIN).unwrap().notes
    };
    let short = told("base = \"17ms\"");
    assert!(short[0].starts_with("calls took about 1"), "{short:?}");
    assert_eq!(told("base = \"150ms\""), [""; 0]);
}

#[test]
fn what_is_presumed_is_a_part_of_what_a_run_really_cost() {
    let fault = "[[fault]]\neffect = \"reset\"\nat = \"0s\"\nfor = \"1h\"\nshare = 0.2\n";
    let scenario = Scenario::parse(&format!("{SCENARIO}{fault}")).unwrap();
    let played = played(&scenario, OVERLOADED, 0.0, 1);
    let outcomes = played.run.tasks.iter().filter_map(|task| task.outcome.as_ref());
    let presumed: u64 = outcomes.clone().map(|it| it.presumed_cost_usd.nanos()).sum();
    let known: u64 = outcomes.map(|it| it.cost_usd.nanos()).sum();
    assert!(presumed > 0);
    let compared = played.compared(&scenario);
    let cost = compared.iter().find(|figure| figure.name == "cost_usd").unwrap();
    assert!((cost.real - (known + presumed) as f64 / 1e9).abs() < 1e-9, "{cost:?}");
    assert!(cost.error().unwrap().abs() < 0.01, "{cost:?}");
}

#[test]
fn a_fleet_that_is_not_on_record_may_answer_as_long_as_any_call_of_it_might() {
    let scenario = scenario();
    let mut played = played(&scenario, OVERLOADED, 0.0, 1);
    let most = played.records[0].max_tokens;
    // The last ones asked for less.
    played.records.iter_mut().skip(100).for_each(|record| record.max_tokens = 1);
    let known = (&*played.records, &*played.failures);
    let models = Catalogue::builtin().clone();
    let built = rebuild(&played.run, known, None, models, NonZeroU32::MIN).unwrap();
    let agents = &built.scenario.fleet.agent;
    assert_eq!((agents.len(), agents[0].max_tokens.get(), agents[0].count.get()), (1, most, 8));
    assert!(built.notes.iter().any(|note| note.contains("no fleet file")), "{:?}", built.notes);
}
