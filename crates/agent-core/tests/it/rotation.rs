//! A key that is replaced while the system runs: calls made with the old one go on with the new.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agent_core::agent::AgentSpec;
use agent_core::ledger::BudgetSpec;
use agent_core::llm::anthropic::Anthropic;
use agent_core::llm::{ApiKey, KeyRing, KeySource, LlmClient};
use agent_core::system::AgentSystem;
use agent_core::task::{ErrorCode, Outcome, Task};
use futures_util::future::join_all;

use crate::wire::{GOOD, Server, Step, config, http};

const OLD: &str = "sk-ant-api03-secret-secret-OLD1";
const NEW: &str = "sk-ant-api03-secret-secret-NEW2";
const MODEL: &str = "claude-haiku-4-5";

/// Answers those who have the new key, and the others with a 401, each a little later than the
/// one before.
async fn locked() -> Server {
    Server::start(|number, request| {
        if request.contains(NEW) {
            return vec![Step::Send(http("200 OK", "", GOOD))];
        }
        let body = r#"{"error":{"type":"authentication_error","message":"invalid x-api-key"}}"#;
        let wait = Duration::from_millis(100) * (number as u32 + 1);
        vec![Step::Wait(wait), Step::Send(http("401 Unauthorized", "", body))]
    })
    .await
}

/// A client whose key comes from the file.
fn client(server: &Server, file: &Path) -> Arc<Anthropic> {
    let mut config = config(&server.url);
    config.keys = KeyRing::load(KeySource::File(file.to_owned()), |_| None).unwrap();
    Arc::new(Anthropic::new(config).unwrap())
}

async fn system(client: &Arc<Anthropic>, workers: u32) -> AgentSystem {
    let agent = AgentSpec::new("clerk", MODEL).count(workers).max_tokens(9);
    AgentSystem::builder_shared(client.clone()).agent(agent).start().await.unwrap()
}

async fn run(system: &AgentSystem, tasks: u32) -> Vec<Arc<Outcome>> {
    let task = |id: u32| system.run(Task::new(id.to_string(), "File a letter"));
    join_all((1..=tasks).map(task)).await.into_iter().map(Result::unwrap).collect()
}

fn sent_with(server: &Server, key: &str) -> usize {
    server.seen.requests.lock().unwrap().iter().filter(|request| request.contains(key)).count()
}

fn key_file(key: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), key).unwrap();
    file
}

#[tokio::test]
async fn a_401_has_a_changed_key_read_and_used_and_is_not_charged() {
    let (server, file) = (locked().await, key_file(OLD));
    let client = client(&server, file.path());
    std::fs::write(file.path(), format!(" {NEW}\n")).unwrap();
    assert_eq!(&*client.account(), "sk-ant-***OLD1");
    let outcome = run(&system(&client, 1).await, 1).await.remove(0);
    assert_eq!((outcome.error.as_ref(), outcome.attempts), (None, 2));
    assert!(outcome.presumed_cost_usd.is_zero());
    assert_eq!((sent_with(&server, OLD), sent_with(&server, NEW)), (1, 1));
    assert_eq!(&*client.account(), "sk-ant-***NEW2");
}

#[tokio::test]
async fn a_401_with_an_unchanged_key_or_an_unusable_new_one_is_final() {
    for text in [OLD, "", "sk-ant-admin01-secret", "sk-proj-secret-secret"] {
        let (server, file) = (locked().await, key_file(OLD));
        let client = client(&server, file.path());
        std::fs::write(file.path(), text).unwrap();
        let outcome = run(&system(&client, 1).await, 1).await.remove(0);
        let error = outcome.error.as_ref().unwrap();
        assert_eq!((error.code, outcome.attempts), (ErrorCode::Authentication, 1), "{text}");
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        assert_eq!(server.requests(), 1, "{text}");
        assert_eq!(&*client.account(), "sk-ant-***OLD1");
    }
}

#[tokio::test]
async fn every_call_that_was_under_way_with_the_old_key_goes_on_with_the_new() {
    let (server, file) = (locked().await, key_file(OLD));
    let client = client(&server, file.path());
    std::fs::write(file.path(), NEW).unwrap();
    let outcomes = run(&system(&client, 3).await, 3).await;
    for outcome in outcomes {
        assert_eq!((outcome.error.as_ref(), outcome.attempts), (None, 2));
    }
    assert_eq!((sent_with(&server, OLD), sent_with(&server, NEW)), (3, 3));
}

#[tokio::test]
async fn a_key_that_a_signal_had_read_again_is_used_by_calls_that_were_under_way() {
    let (server, file) = (locked().await, key_file(OLD));
    let client = client(&server, file.path());
    let system = system(&client, 1).await;
    let run = run(&system, 1);
    let rotate = async {
        while server.requests() == 0 {
            agent_core::clock::Clock::real().sleep(Duration::from_millis(1)).await;
        }
        std::fs::write(file.path(), NEW).unwrap();
        // What SIGHUP calls.
        assert_eq!(client.rotate().as_deref(), Some("sk-ant-***NEW2"));
        assert_eq!(client.rotate(), None);
    };
    let (outcomes, ()) = futures_util::future::join(run, rotate).await;
    assert_eq!((outcomes[0].error.as_ref(), outcomes[0].attempts), (None, 2));
    assert_eq!((sent_with(&server, OLD), sent_with(&server, NEW)), (1, 1));
}

#[test]
fn nothing_that_holds_a_key_shows_more_than_its_last_four_characters() {
    let file = key_file(OLD);
    let ring = KeyRing::load(KeySource::File(file.path().to_owned()), |_| None).unwrap();
    let mut config = config("https://api.anthropic.com");
    config.keys = ring.clone();
    let shown = format!(
        "{:?} {:?} {config:?} {:?} {}",
        ring,
        ring.current(),
        Anthropic::new(config.clone()).unwrap(),
        ring.current().masked(),
    );
    assert!(shown.contains("sk-ant-***OLD1") && !shown.contains("secret"), "{shown}");
    for text in ["sk-ant-admin01-secret", "sk-ant-oat01-secret", "sk-proj-secret", "a secret"] {
        let fault = ApiKey::parse(text).unwrap_err();
        std::fs::write(file.path(), text).unwrap();
        let in_file = ring.reload().unwrap_err();
        let text = text.to_owned();
        let in_env = KeyRing::load(KeySource::default(), move |_| Some(text.clone())).unwrap_err();
        let shown = format!("{fault} {fault:?} {in_file} {in_file:?} {in_env} {in_env:?}");
        assert!(!shown.contains("secret"), "{shown}");
    }
}

fn cause(error: &dyn std::error::Error) -> String {
    error.source().map(ToString::to_string).unwrap_or_default()
}

/// A pipe, as `<(command)` makes one, can be read once; a second time it would never end.
#[tokio::test]
async fn a_key_source_that_is_no_file_any_more_does_not_hold_everything_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, OLD).unwrap();
    let ring = KeyRing::load(KeySource::File(path.clone()), |_| None).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let held = std::fs::File::options().read(true).write(true).open(&path).unwrap();
    let reload = tokio::task::spawn_blocking(move || ring.reload().map_err(|e| cause(&e)));
    let clock = agent_core::clock::Clock::real();
    let result = clock.timeout(clock.now() + Duration::from_secs(1), std::pin::pin!(reload)).await;
    drop(held);
    let error = result.expect("reads for ever").unwrap().unwrap_err();
    assert!(error.contains("not a file"), "{error}");
}

#[test]
fn a_file_that_is_too_long_for_a_key_is_not_read_to_its_end() {
    let file = key_file(&"x".repeat(1 << 20));
    let error = KeyRing::load(KeySource::File(file.path().to_owned()), |_| None).unwrap_err();
    assert!(cause(&error).contains("too long for a key"), "{error}");
    // It has no end.
    assert!(KeyRing::load(KeySource::File("/dev/zero".into()), |_| None).is_err());
}

/// A slip that is easily made: the key stands where its variable's or its file's name belongs.
#[test]
fn a_key_in_the_place_of_a_name_is_not_shown() {
    let var = KeySource::Env { var: OLD.to_owned(), environment: Some("dev".to_owned()) };
    for source in [var, KeySource::File(OLD.into())] {
        let error = KeyRing::load(source.clone(), |_| None).unwrap_err();
        let shown = format!("{source} {source:?} {error} {error:?}");
        assert!(!shown.contains("secret"), "{shown}");
    }
}

#[tokio::test]
async fn a_call_pays_from_the_budget_of_the_key_that_it_is_sent_with() {
    let (server, file) = (locked().await, key_file(OLD));
    let client = client(&server, file.path());
    std::fs::write(file.path(), NEW).unwrap();
    let agent = AgentSpec::new("clerk", MODEL).max_tokens(9);
    let each_key = BudgetSpec::new("key:*".parse().unwrap(), "1".parse().unwrap());
    let builder = AgentSystem::builder_shared(client).agent(agent).budget(each_key);
    let system = builder.start().await.unwrap();
    let outcome = run(&system, 1).await.remove(0);
    let balances = system.balances().await.unwrap();
    let spent = balances.iter().filter(|balance| !balance.spent.is_zero());
    let spent: Vec<_> = spent.map(|it| (it.scope.to_string(), it.spent)).collect();
    assert_eq!(spent, [("key:sk-ant-***NEW2".to_owned(), outcome.cost_usd)]);
}
