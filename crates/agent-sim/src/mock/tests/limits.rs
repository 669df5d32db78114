//! What a client is told of the limits.

use super::client::{BODY, KEY, post, request, start};

#[tokio::test]
async fn a_call_above_the_limit_is_told_when_to_come_back_and_is_not_billed() {
    for enforcement in ["bucket", "sliding"] {
        let limits = "[limits]\nrequests_per_minute = 1\nenforcement =";
        let mock = start(&format!("{limits} '{enforcement}'")).await;
        assert_eq!(post(&mock, BODY).await.status, 200);
        let refused = post(&mock, BODY).await;
        assert_eq!(refused.status, 429);
        assert_eq!(refused.json()["error"]["type"], "rate_limit_error");
        assert_eq!(refused.header("x-should-retry"), "true");
        let seconds: u64 = refused.header("retry-after").parse().unwrap();
        assert!((55..=60).contains(&seconds), "{seconds}");
        assert_eq!(mock.bill().len(), 1);
        // Another key and another model have limits of their own.
        let other = request(&mock, "POST", "/v1/messages", "x-api-key: sk-ant-b", BODY).await;
        assert_eq!(other.unwrap().status, 200);
        assert_eq!(post(&mock, &BODY.replace("\"m\"", "\"n\"")).await.status, 200);
    }
}

#[tokio::test]
async fn every_answer_tells_how_the_limits_stand() {
    let mock = start(
        "[output]\ninput_tokens = 40\n[limits]\nrequests_per_minute = 2\n\
         input_tokens_per_minute = 5000\noutput_tokens_per_minute = 90000\nenforcement = 'sliding'\n\
         [[fault]]\nkind = 'status'\nstatus = 529\ncalls = [2]",
    )
    .await;
    for (status, requests, input) in [(200, "1", "4960"), (529, "0", "4920"), (429, "0", "4920")] {
        let answer = post(&mock, BODY).await;
        let told = |name: &str| answer.header(&format!("anthropic-ratelimit-{name}")).to_owned();
        assert_eq!(answer.status, status);
        assert_eq!(
            (told("requests-limit"), told("requests-remaining")),
            ("2".into(), requests.into())
        );
        assert_eq!(told("input-tokens-remaining"), input);
        // In thousands, as Anthropic tells it.
        assert_eq!(told("output-tokens-remaining"), "90000");
        assert_eq!(told("tokens-limit"), "95000");
        for name in ["requests-reset", "input-tokens-reset", "output-tokens-reset"] {
            let (at, now) = (told(name), agent_core::clock::Clock::real().now());
            assert_eq!(at.len(), "2026-11-24T00:00:00Z".len(), "{at}");
            let wait = at.parse::<agent_core::clock::Timestamp>().unwrap().since(now).as_secs();
            assert!((50..=61).contains(&wait), "{name}: {wait}");
        }
    }
    let counted = request(&mock, "POST", "/v1/messages/count_tokens", KEY, BODY).await.unwrap();
    assert_eq!(counted.status, 200, "counting is not limited");
    assert_eq!(counted.header("anthropic-ratelimit-requests-remaining"), "0");
}

#[tokio::test]
async fn a_request_holds_its_max_tokens_until_it_is_answered() {
    let limits = "[limits]\noutput_tokens_per_minute = 20\nenforcement = 'sliding'";
    let mock = start(&format!("[output]\ntokens = 4\n{limits}")).await;
    // 9 are held and 4 are used by each: 20 - 4 × 4 has no room for 9.
    for status in [200, 200, 200, 429] {
        assert_eq!(post(&mock, BODY).await.status, status);
    }
    let too_much = post(&mock, &BODY.replace(":9", ":21")).await;
    assert_eq!(too_much.status, 429);
    let message = too_much.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("20 output tokens per minute"), "{message}");
}
