#!/usr/bin/env python3
"""The official Python SDK, unchanged, against the mock provider.

Usage: anthropic_sdk.py URL    with a mock provider at URL that plays tests/python/scenario.toml.
Prints a line for each check that holds, and ends with 1 at the first that does not.
"""

import sys
import time

import anthropic

URL = sys.argv[1]
KEY = "sk-ant-api03-python-0001"
HELLO = [{"role": "user", "content": "Hello"}]
WEATHER = {
    "name": "get_weather",
    "description": "The weather in a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}
CALL = {"max_tokens": 100, "messages": HELLO}


def client(**options):
    options = {"api_key": KEY, "base_url": URL, "max_retries": 0, **options}
    # Answers that do not fit the SDK's own types are errors, which they are not by default.
    return anthropic.Anthropic(_strict_response_validation=True, **options)


def raised(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was not raised")


def a_message_is_created():
    message = client().messages.create(model="good", **CALL)
    assert message.type == "message" and message.role == "assistant", message
    assert message.id.startswith("msg_") and message._request_id.startswith("req_"), message
    assert message.model == "good" and message.stop_reason == "end_turn", message
    assert message.content[0].text == "A short answer, in pieces.", message
    assert message.usage.input_tokens > 0 and message.usage.output_tokens == 20, message.usage
    short = client().messages.create(model="good", max_tokens=3, messages=HELLO)
    assert short.stop_reason == "max_tokens" and short.usage.output_tokens == 3, short


def a_stream_has_the_text_in_pieces_and_the_usage_at_its_end():
    with client().messages.stream(model="good", **CALL) as stream:
        pieces = list(stream.text_stream)
        message = stream.get_final_message()
    assert "".join(pieces) == "A short answer, in pieces.", pieces
    assert len(pieces) > 3, pieces
    assert message.content[0].text == "".join(pieces), message
    assert message.usage.output_tokens == 20 and message.usage.input_tokens > 0, message.usage
    assert message.stop_reason == "end_turn", message


def the_events_of_a_stream_are_known_and_in_order():
    with client().messages.create(model="good", stream=True, **CALL) as events:
        kinds = [event.type for event in events]
    assert kinds[0] == "message_start" and kinds[-1] == "message_stop", kinds
    assert kinds[-2] == "message_delta" and "content_block_delta" in kinds, kinds


def tokens_are_counted_as_they_are_billed():
    counted = client().messages.count_tokens(model="good", messages=HELLO)
    message = client().messages.create(model="good", **CALL)
    assert counted.input_tokens == message.usage.input_tokens, counted


def a_tool_is_called_and_its_result_answered():
    tools = {"model": "good", "max_tokens": 100, "tools": [WEATHER]}
    message = client().messages.create(messages=HELLO, **tools)
    assert message.stop_reason == "tool_use", message
    call = message.content[0]
    assert (call.type, call.name, call.input) == ("tool_use", "get_weather", {"city": "Oslo"}), call
    with client().messages.stream(messages=HELLO, **tools) as stream:
        streamed = stream.get_final_message()
    assert streamed.content[0].input == {"city": "Oslo"}, streamed
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "rain"}
    messages = [
        *HELLO,
        {"role": "assistant", "content": message.content},
        {"role": "user", "content": [result]},
    ]
    message = client().messages.create(messages=messages, **tools)
    assert message.stop_reason == "end_turn" and message.content[0].type == "text", message


def a_tool_is_called_where_the_request_makes_it_called():
    other = {"name": "get_time", "input_schema": {"type": "object"}}
    named = {"type": "tool", "name": "get_time"}
    for choice, name in [({"type": "any"}, "get_weather"), (named, "get_time")]:
        asked = {"model": "good", "tool_choice": choice, "tools": [WEATHER, other], **CALL}
        message = client().messages.create(**asked)
        with client().messages.stream(**asked) as stream:
            streamed = stream.get_final_message()
        for said in [message, streamed]:
            assert said.stop_reason == "tool_use" and said.content[0].name == name, said
    missing = {"model": "good", "tool_choice": {**named, "name": "none"}, "tools": [other], **CALL}
    raised(anthropic.BadRequestError, lambda: client().messages.create(**missing))


def a_thought_stands_before_the_text():
    thinking = {"type": "enabled", "budget_tokens": 1024}
    asked = {"model": "good", "messages": HELLO, "thinking": thinking}
    message = client().messages.create(max_tokens=2048, **asked)
    with client().messages.stream(max_tokens=2048, **asked) as stream:
        streamed = stream.get_final_message()
    for said in [message, streamed]:
        assert [block.type for block in said.content] == ["thinking", "text"], said
        assert said.content[0].thinking and said.content[0].signature, said
        assert said.usage.output_tokens == 20, said.usage
        assert said.usage.output_tokens_details.thinking_tokens == 10, said.usage
    error = raised(
        anthropic.BadRequestError, lambda: client().messages.create(max_tokens=1024, **asked)
    )
    assert "must be greater than `thinking.budget_tokens`" in str(error), error


def models_are_listed_and_found():
    if not hasattr(client(), "models"):
        return
    pages = client().models.list(limit=3)
    names = [model.id for model in pages]
    assert "good" in names and len(names) > 3, names
    assert client().models.retrieve("good").type == "model"
    raised(anthropic.NotFoundError, lambda: client().models.retrieve("none"))


def a_limit_is_an_error_that_says_when_to_come_back():
    ok = client().messages.with_raw_response.create(model="limited", **CALL)
    headers = ok.headers
    assert headers["anthropic-ratelimit-requests-limit"] == "30", headers
    assert headers["anthropic-ratelimit-requests-remaining"] == "29", headers
    assert headers["anthropic-ratelimit-requests-reset"].endswith("Z"), headers
    assert headers["anthropic-organization-id"], headers
    for _ in range(29):
        client().messages.create(model="limited", **CALL)
    error = raised(
        anthropic.RateLimitError, lambda: client().messages.create(model="limited", **CALL)
    )
    assert error.status_code == 429 and error.body["error"]["type"] == "rate_limit_error", error
    assert 1 <= int(error.response.headers["retry-after"]) <= 60, error.response.headers
    assert error.response.headers["x-should-retry"] == "true"


def a_wrong_key_is_refused():
    wrong = client(api_key="sk-ant-api03-wrong", max_retries=2)
    error = raised(
        anthropic.AuthenticationError, lambda: wrong.messages.create(model="good", **CALL)
    )
    assert error.body["error"]["type"] == "authentication_error", error
    assert error.request_id.startswith("req_"), error
    bearer = anthropic.Anthropic(api_key=None, auth_token=KEY, base_url=URL)
    assert bearer.messages.create(model="good", **CALL).type == "message"


def a_bad_request_is_refused_in_the_words_of_the_api():
    empty = lambda: client().messages.create(model="good", max_tokens=1, messages=[])
    error = raised(anthropic.BadRequestError, empty)
    assert error.body["error"]["message"] == "messages: at least one message is required", error
    unknown = lambda: client().messages.create(model="none", **CALL)
    assert raised(anthropic.NotFoundError, unknown).body["error"]["message"] == "model: none"


def an_overloaded_server_is_asked_again():
    for model, status in [("overloaded", 529), ("failing", 500)]:
        once = lambda: client().messages.create(model=model, **CALL)
        error = raised(anthropic.APIStatusError, once)
        assert error.status_code == status, error
        message = client(max_retries=2).messages.create(model=model, **CALL)
        assert message.stop_reason == "end_turn", message


def a_refusal_with_retry_after_is_waited_out():
    start = time.monotonic()
    client(max_retries=1).messages.create(model="later", **CALL)
    assert time.monotonic() - start >= 1.0


def a_slow_answer_runs_into_the_timeout():
    slow = client(timeout=0.3)
    raised(anthropic.APITimeoutError, lambda: slow.messages.create(model="slow", **CALL))


def a_broken_connection_is_an_error_of_the_connection():
    raised(anthropic.APIConnectionError, lambda: client().messages.create(model="reset", **CALL))


def a_stream_that_fails_midway_raises():
    def read():
        with client().messages.stream(model="breaking", **CALL) as stream:
            for _ in stream.text_stream:
                pass

    error = raised(anthropic.APIStatusError, read)
    assert "Overloaded" in str(error), error


CHECKS = [
    a_message_is_created,
    a_stream_has_the_text_in_pieces_and_the_usage_at_its_end,
    the_events_of_a_stream_are_known_and_in_order,
    tokens_are_counted_as_they_are_billed,
    a_tool_is_called_and_its_result_answered,
    a_tool_is_called_where_the_request_makes_it_called,
    a_thought_stands_before_the_text,
    models_are_listed_and_found,
    a_limit_is_an_error_that_says_when_to_come_back,
    a_wrong_key_is_refused,
    a_bad_request_is_refused_in_the_words_of_the_api,
    an_overloaded_server_is_asked_again,
    a_refusal_with_retry_after_is_waited_out,
    a_slow_answer_runs_into_the_timeout,
    a_broken_connection_is_an_error_of_the_connection,
    a_stream_that_fails_midway_raises,
]

if __name__ == "__main__":
    for check in CHECKS:
        check()
        print(f"anthropic {anthropic.__version__}: {check.__name__}", flush=True)
