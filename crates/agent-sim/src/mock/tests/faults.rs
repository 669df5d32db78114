//! What goes wrong, and for whom.

use std::io;
use std::time::Duration;

use agent_core::clock::Clock;
use tokio::io::AsyncReadExt;

use super::client::{BODY, KEY, post, raw, send, start};
use crate::mock::Scenario;

#[tokio::test]
async fn faults_hit_their_calls_and_bill_work_that_was_done() {
    let mock = start(
        "[[fault]]\nkind='reset'\ncalls=[1]\n[[fault]]\nkind='truncate'\ncalls=[2]\n\
         [[fault]]\nkind='status'\nstatus=529\ncalls=[3]\n[[fault]]\nkind='close'\ncalls=[4]",
    )
    .await;
    let reset = raw(mock.address(), BODY).await.unwrap_err();
    assert_eq!(reset.kind(), io::ErrorKind::ConnectionReset);
    let cut = raw(mock.address(), BODY).await.unwrap_or_default();
    assert!(!cut.ends_with('}'), "{cut}");
    assert_eq!(post(&mock, BODY).await.json()["error"]["type"], "overloaded_error");
    assert_eq!(raw(mock.address(), BODY).await.unwrap(), "");
    assert_eq!(mock.bill().len(), 3);
}

#[tokio::test]
async fn an_error_has_what_the_scenario_says_and_else_what_the_api_says() {
    let mock = start(
        "[[fault]]\nkind='status'\nstatus=429\ncalls=[1]\nretry_after=7\n\
         [[fault]]\nkind='status'\nstatus=429\ncalls=[2]\nmessage='You have reached your API usage \
         limits'\nerror_code='enforced_spend_limit_reached'\n\
         [[fault]]\nkind='status'\nstatus=500\ncalls=[3]\nshould_retry=false\n\
         [[fault]]\nkind='status'\nstatus=413\ncalls=[4]",
    )
    .await;
    let limited = post(&mock, BODY).await;
    assert_eq!((limited.header("retry-after"), limited.header("x-should-retry")), ("7", "true"));
    let spent = post(&mock, BODY).await;
    assert_eq!(spent.json()["error"]["details"]["error_code"], "enforced_spend_limit_reached");
    assert_eq!((spent.header("retry-after"), spent.header("x-should-retry")), ("", "false"));
    let failed = post(&mock, BODY).await;
    assert_eq!(failed.json()["error"]["message"], "Internal server error");
    assert_eq!(failed.header("x-should-retry"), "false");
    let large = post(&mock, BODY).await;
    assert!(large.json()["type"].is_null() && large.header("request-id").is_empty());
    assert_eq!(mock.bill().len(), 0);
}

#[tokio::test]
async fn first_counts_the_calls_that_the_other_conditions_name() {
    let mock = start("[[fault]]\nkind='status'\nfirst=2\nmodels=['m']").await;
    let other = BODY.replace("\"m\"", "\"n\"");
    for (body, status) in
        [(other.as_str(), 200), (BODY, 500), (other.as_str(), 200), (BODY, 500), (BODY, 200)]
    {
        assert_eq!(post(&mock, body).await.status, status);
    }
}

#[tokio::test]
async fn a_fault_hits_only_between_its_times() {
    let mock = start(
        "[[fault]]\nkind='status'\nstatus=503\nafter='1h'\n\
         [[fault]]\nkind='status'\nstatus=502\nuntil='1h'",
    )
    .await;
    assert_eq!(post(&mock, BODY).await.status, 502);
}

#[tokio::test]
async fn usage_is_absent_or_zero_but_billed() {
    let mock = start("[[fault]]\nkind='no_usage'\nfirst=1\n[[fault]]\nkind='zero_usage'").await;
    assert!(post(&mock, BODY).await.json()["usage"].is_null());
    assert_eq!(post(&mock, BODY).await.json()["usage"]["output_tokens"], 0);
    let streamed = BODY.replacen('{', r#"{"stream":true,"#, 1);
    let events = post(&mock, &streamed).await.events();
    assert_eq!(events[events.len() - 2]["usage"]["output_tokens"], 0);
    assert_eq!(mock.billed().output_tokens, 27);
}

#[tokio::test]
async fn a_huge_answer_is_good_json_behind_sixteen_mebibytes() {
    let mock = start("[[fault]]\nkind='huge'").await;
    let answer = post(&mock, BODY).await;
    assert!(answer.body.len() > 16 * 1024 * 1024);
    assert_eq!(answer.header("content-length"), answer.body.len().to_string());
    assert_eq!(answer.json()["usage"]["output_tokens"], 9);
    let events = post(&mock, &BODY.replacen('{', r#"{"stream":true,"#, 1)).await.events();
    assert_eq!(events[events.len() - 1]["type"], "message_stop");
}

#[tokio::test]
async fn an_endless_answer_goes_on_as_long_as_it_is_read() {
    let mock = start("[[fault]]\nkind='endless'").await;
    for body in [BODY.to_owned(), BODY.replacen('{', r#"{"stream":true,"#, 1)] {
        let mut stream = send(mock.address(), "POST", "/v1/messages", KEY, &body).await.unwrap();
        let mut bytes = vec![0; 20 * 1024 * 1024];
        stream.read_exact(&mut bytes).await.unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("message_stop"));
    }
}

#[tokio::test]
async fn a_dripping_answer_comes_byte_by_byte_and_never_ends() {
    let mock = start("[[fault]]\nkind='drip'\ninterval='1ms'").await;
    let mut stream = send(mock.address(), "POST", "/v1/messages", KEY, BODY).await.unwrap();
    let mut seen = String::new();
    // Each byte is a chunk of its own; the answer is shorter than 600.
    while seen.len() < 600 * "1\r\nx\r\n".len() {
        let mut bytes = [0; 4096];
        let read = stream.read(&mut bytes).await.unwrap();
        assert!(read > 0, "it ended");
        seen += std::str::from_utf8(&bytes[..read]).unwrap();
    }
    assert!(seen.contains("1\r\n{\r\n1\r\n\"\r\n"), "{seen}");
}

#[tokio::test]
async fn a_slow_answer_is_good_and_late() {
    let mock = start("[[fault]]\nkind='slow'\ndelay='80ms'").await;
    let clock = Clock::real();
    let start = clock.now();
    assert_eq!(post(&mock, BODY).await.status, 200);
    assert!(clock.now().since(start) >= Duration::from_millis(80));
}

#[test]
fn a_scenario_that_is_wrong_is_told_where_and_what_would_be_right() {
    for (toml, says) in [
        ("[latency]\nbase_ms = 3", "2:1: unknown field `base_ms`, expected `base`"),
        ("[latency]\nbase = '3'", "write a duration such as"),
        ("requests_per_minute = 3", "unknown field `requests_per_minute`"),
        ("[limits]\nrequests_per_minute = 0", "2:23: `requests_per_minute`: write a whole"),
        ("[limits]\nenforcement = 'fuzzy'", "`bucket` or `sliding`"),
        ("[[fault]]\nkind = 'status'\nstatus = 200", "`fault[0]`: `status` is 200; write an"),
        ("[[fault]]\nkind = 'hang'\nstatus = 500", "`status` is only for kind = \"status\""),
        ("[[fault]]\nkind = 'hang'\nfirst = 0", "`first` is 0; write at least 1"),
        ("[[fault]]\nkind = 'hang'\nprobability = 2.0", "`probability` is 2; write a share"),
        ("[[fault]]\nkind = 'hang'\nafter = '5s'\nuntil = '1s'", "`until` is not later"),
        ("[[fault]]\nkind = 'explode'", "unknown variant `explode`, expected one of `hang`"),
        ("[output]\ntool_input = { a = 1 }", "needs `output.tool`"),
        ("spend_limit_usd = 1.5", "1:19: `spend_limit_usd`: write the amount"),
        ("spend_limit_usd = '1,5'", "not an amount of dollars; write it as a decimal"),
        ("[[fault]]\nkind = 'drip'\ninterval = 'x'", "3:12: `interval`: "),
    ] {
        let error = Scenario::from_toml(toml).unwrap_err().to_string();
        assert!(error.contains(says), "{toml}: {error}");
    }
}

#[test]
fn a_key_in_a_scenario_is_never_shown() {
    let error = Scenario::from_toml("valid_keys = 'sk-ant-api03-secret5ecret'").unwrap_err();
    assert!(!error.to_string().contains("secret5ecret"), "{error}");
    let scenario = Scenario::from_toml("valid_keys = ['sk-ant-api03-secret5ecret']").unwrap();
    assert!(!format!("{scenario:?}").contains("secret5ecret"));
}

#[test]
fn the_example_that_shows_every_key_is_valid() {
    Scenario::from_toml(include_str!("../../../../../examples/mock.toml")).unwrap();
}
