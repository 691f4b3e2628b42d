"""The real `openai` package against the real server: what a user's program would do.

Run by tests/openai_client.rs as `openai_client.py URL KEY MODEL CONTEXT_TOKENS`. Every function
named test_* is one test; a failing one is reported and the others still run.
"""

import json
import math
import sys
import time
import traceback

import openai

URL, KEY, MODEL, CONTEXT_TOKENS = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])

# Without retries, so that a wrong status shows as what it is.
client = openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0, timeout=120)

HELLO = [{"role": "user", "content": "Say hello in one short sentence."}]

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "enum": ["Paris", "Berlin"]},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            },
            "required": ["city", "unit"],
            "additionalProperties": False,
        },
    },
}

CLOCK = {
    "type": "function",
    "function": {
        "name": "get_time",
        "description": "The time in a time zone",
        "parameters": {
            "type": "object",
            "properties": {"zone": {"type": "string", "enum": ["UTC", "CET"]}},
            "required": ["zone"],
            "additionalProperties": False,
        },
    },
}


def chat(messages=HELLO, **options):
    options = {"model": MODEL, "temperature": 0, "max_completion_tokens": 24} | options
    return client.chat.completions.create(messages=messages, **options)


def raises(kind, call, *, param=None, code=None, says=""):
    """The OpenAI exception that `call` raises, after checking its fields."""
    try:
        call()
    except kind as error:
        assert says in error.message, error.message
        assert param is None or error.param == param, (error.param, error.message)
        assert code is None or error.code == code, (error.code, error.message)
        return error
    raise AssertionError(f"no {kind.__name__}")


def test_models():
    cards = client.models.list().data
    assert [card.id for card in cards] == [MODEL], cards
    assert client.models.retrieve(MODEL).id == MODEL
    raises(openai.NotFoundError, lambda: client.models.retrieve("none"), code="model_not_found")


def test_chat():
    answer = chat()
    assert answer.object == "chat.completion" and answer.id.startswith("chatcmpl-")
    assert answer.model == MODEL
    choice = answer.choices[0]
    assert choice.message.role == "assistant" and choice.message.content.strip()
    assert choice.finish_reason in ("stop", "length")
    usage = answer.usage
    assert usage.prompt_tokens > 0 and 0 < usage.completion_tokens <= 24
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def test_the_tier_is_a_model_name_too():
    assert chat(model="small").choices[0].message.content == chat().choices[0].message.content


def test_stream_equals_whole_and_ends_with_usage():
    whole = chat()
    chunks = list(chat(stream=True, stream_options={"include_usage": True}))
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    ends = [c.choices[0].finish_reason for c in chunks if c.choices]
    assert ends[-1] == whole.choices[0].finish_reason and not any(ends[:-1]), ends
    assert chunks[-1].choices == [] and all(chunk.usage is None for chunk in chunks[:-1])
    assert chunks[-1].usage.prompt_tokens == whole.usage.prompt_tokens
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens


def test_stream_without_usage():
    chunks = list(chat(stream=True, max_completion_tokens=4))
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)


def test_a_known_prefix_is_not_computed_again():
    long = [{"role": "user", "content": "Count the words. " * 40}]
    chat(long, max_completion_tokens=1, prompt_cache_key="prefix")
    again = chat(long, max_completion_tokens=1, extra_headers={"x-session-id": "prefix"})
    cached = again.usage.prompt_tokens_details.cached_tokens
    assert cached > again.usage.prompt_tokens * 0.9, again.usage


def test_max_completion_tokens():
    answer = chat(max_completion_tokens=3)
    assert answer.usage.completion_tokens == 3
    assert answer.choices[0].finish_reason == "length"


def test_stop():
    text = chat().choices[0].message.content
    stop = text.split()[1]
    answer = chat(stop=[stop])
    assert answer.choices[0].message.content == text[: text.index(stop)]
    assert answer.choices[0].finish_reason == "stop"


def test_seed():
    def sampled(seed):
        return chat(temperature=1.5, seed=seed).choices[0].message.content

    first = sampled(1)
    assert sampled(1) == first
    assert any(sampled(seed) != first for seed in (2, 3, 4))


def test_n():
    answer = chat(n=2, temperature=1.5, seed=7)
    assert [choice.index for choice in answer.choices] == [0, 1]
    first, second = (choice.message.content for choice in answer.choices)
    assert first != second
    texts = {0: "", 1: ""}
    for chunk in chat(n=2, temperature=1.5, seed=7, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts == {0: first, 1: second}


def test_logprobs():
    answer = chat(logprobs=True, top_logprobs=3, max_completion_tokens=5)
    content = answer.choices[0].logprobs.content
    assert len(content) == 5
    text = b"".join(bytes(token.bytes) for token in content).decode()
    assert text.strip() == answer.choices[0].message.content.strip()
    for token in content:
        top = [alternative.logprob for alternative in token.top_logprobs]
        assert len(top) == 3 and top == sorted(top, reverse=True)
        # Greedy: the token is the most probable one.
        assert math.isclose(token.logprob, top[0], abs_tol=1e-5) and token.logprob <= 0


def test_json_schema():
    schema = {
        "type": "object",
        "properties": {
            "animal": {"type": "string", "enum": ["cat", "dog", "fish"]},
            "legs": {"type": "integer", "minimum": 0, "maximum": 8},
            "tame": {"type": "boolean"},
        },
        "required": ["animal", "legs", "tame"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "pet", "schema": schema}}
    answer = chat(
        [{"role": "user", "content": "Describe a pet."}],
        response_format=form,
        max_completion_tokens=80,
    )
    pet = json.loads(answer.choices[0].message.content)
    assert set(pet) == {"animal", "legs", "tame"} and pet["animal"] in ("cat", "dog", "fish")
    assert 0 <= pet["legs"] <= 8 and isinstance(pet["tame"], bool)
    assert answer.choices[0].finish_reason == "stop"


def test_json_object():
    answer = chat(
        [{"role": "user", "content": 'Answer with this JSON: {"a": 1}'}],
        response_format={"type": "json_object"},
        max_completion_tokens=120,
    )
    choice = answer.choices[0]
    text = choice.message.content
    assert text.lstrip().startswith("{"), text
    # A small model may not find the end of its object within the limit; if it does, it is JSON.
    if choice.finish_reason == "stop":
        assert isinstance(json.loads(text), dict)


def check_call(call, name, allowed):
    assert call.id and call.type == "function" and call.function.name == name
    arguments = json.loads(call.function.arguments)
    assert set(arguments) == set(allowed), arguments
    for key, values in allowed.items():
        assert arguments[key] in values, arguments


ARGUMENTS = {
    "get_weather": {"city": ["Paris", "Berlin"], "unit": ["celsius", "fahrenheit"]},
    "get_time": {"zone": ["UTC", "CET"]},
}

ASK = [{"role": "user", "content": "What is the weather in Paris, in celsius?"}]


def tool_chat(**options):
    options = {"tools": [WEATHER, CLOCK], "max_completion_tokens": 96} | options
    return chat(ASK, parallel_tool_calls=False, **options)


def test_tool_choice_required():
    choice = tool_chat(tool_choice="required").choices[0]
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls
    check_call(call, call.function.name, ARGUMENTS[call.function.name])


def test_tool_choice_named():
    named = {"type": "function", "function": {"name": "get_time"}}
    choice = tool_chat(tool_choice=named).choices[0]
    (call,) = choice.message.tool_calls
    check_call(call, "get_time", ARGUMENTS["get_time"])


def test_tool_call_streamed_equals_whole():
    whole = tool_chat(tool_choice="required").choices[0].message.tool_calls[0]
    name, arguments, ids, ends = "", "", [], []
    for chunk in tool_chat(tool_choice="required", stream=True):
        choice = chunk.choices[0]
        ends.append(choice.finish_reason)
        for call in choice.delta.tool_calls or []:
            assert call.index == 0
            ids += [call.id] if call.id else []
            name += call.function.name or ""
            arguments += call.function.arguments or ""
    assert len(ids) == 1 and ends[-1] == "tool_calls"
    assert (name, arguments) == (whole.function.name, whole.function.arguments)


def test_tool_choice_none():
    message = tool_chat(tool_choice="none", max_completion_tokens=8).choices[0].message
    assert not message.tool_calls and message.content


def test_tool_result_round_trip():
    call = tool_chat(tool_choice="required").choices[0].message
    messages = ASK + [
        call.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.tool_calls[0].id, "content": "18 degrees, sunny"},
    ]
    answer = chat(messages, tools=[WEATHER, CLOCK], max_completion_tokens=16)
    assert answer.usage.completion_tokens > 0

LOOK_UP = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Looks something up in the register of a town",
        "parameters": {
            "type": "object",
            "properties": {
                "town": {"type": "string", "enum": ["Zürich", "Orléans", "Łódź"]},
                "subject": {"type": "string", "minLength": 4, "maxLength": 16},
                "limit": {"type": "integer", "minimum": 1, "maximum": 99},
            },
            "required": ["town", "subject", "limit"],
            "additionalProperties": False,
        },
    },
}

TURNS = 20

# How clients write the arguments of a call that they parsed, and the content that it lacks.
HABITS = [
    (lambda arguments: json.dumps(arguments), {"content": None}),
    (lambda arguments: json.dumps(arguments, ensure_ascii=False), {}),
    (lambda arguments: json.dumps(arguments, separators=(",", ":")), {"content": ""}),
    (lambda arguments: json.dumps(arguments, indent=2, sort_keys=True), {"content": None}),
]


def sent_back(call, turn):
    """The assistant's turn as a client sends it back that keeps only what it parsed."""
    write, content = HABITS[turn % len(HABITS)]
    arguments = write(json.loads(call.function.arguments))
    function = {"name": call.function.name, "arguments": arguments}
    calls = [{"id": call.id, "type": "function", "function": function}]
    return {"role": "assistant", "tool_calls": calls} | content


def one_call(messages, streamed, options):
    """The call that answers the conversation, and the usage."""
    options = {"tools": [LOOK_UP], "tool_choice": "required", "parallel_tool_calls": False} | options
    # Sampled, so that the model splits words otherwise than the tokenizer would.
    options = {"temperature": 1.0, "max_completion_tokens": 120} | options
    if not streamed:
        answer = chat(messages, **options)
        assert answer.choices[0].finish_reason == "tool_calls", answer
        return answer.choices[0].message.tool_calls[0], answer.usage
    call = None
    for chunk in chat(messages, stream=True, stream_options={"include_usage": True}, **options):
        for delta in (chunk.choices[0].delta.tool_calls or []) if chunk.choices else []:
            if call is None:
                call = delta
            else:
                call.function.arguments += delta.function.arguments or ""
        usage = chunk.usage
    return call, usage


def tool_loop(streamed, **options):
    """Runs a tool loop; returns its messages, each turn's usage, and the tokens of all turns but
    the first that were cached and that could have been."""
    task = f"Look up what is interesting, {TURNS} times, {'streamed' if streamed else 'whole'}."
    messages = [{"role": "user", "content": task}]
    usages, cached, possible = [], 0, 0
    for turn in range(TURNS):
        call, usage = one_call(messages, streamed, {"seed": turn} | options)
        if usages:
            # All that the last turn read and wrote, but for the token that it sampled last: no
            # turn has computed that one's cells.
            possible += usages[-1].prompt_tokens + usages[-1].completion_tokens - 1
            cached += usage.prompt_tokens_details.cached_tokens
        usages.append(usage)
        result = {"role": "tool", "tool_call_id": call.id, "content": f"Entry {turn}: nothing."}
        messages += [sent_back(call, turn), result]
    return messages, usages, cached, possible


def check_tool_loop(streamed, **options):
    messages, usages, cached, possible = tool_loop(streamed, **options)
    rate = cached / possible
    print(f"       {TURNS} turns: {cached} of {possible} possible tokens cached, {rate:.2%}")
    # If only texts were compared it would be 99.3 %: every fourth answer comes back with its keys
    # in another order, and is computed again from there.
    assert rate >= 0.998, [usage.model_dump() for usage in usages]

    # What the client changed in earnest is not taken for what was said.
    function = messages[1]["tool_calls"][0]["function"]
    arguments = json.loads(function["arguments"])
    function["arguments"] = json.dumps(arguments | {"limit": arguments["limit"] + 100})
    _, usage = one_call(messages, streamed, {"seed": TURNS} | options)
    first = usages[0].prompt_tokens + usages[0].completion_tokens
    assert usage.prompt_tokens_details.cached_tokens < first, (usage, first)


def test_tool_loop_keeps_its_tokens():
    check_tool_loop(False, prompt_cache_key="tool loop")


def test_streamed_tool_loop_without_a_key_keeps_its_tokens():
    check_tool_loop(True)


def test_hints():
    hints = {"priority": -1, "expected_tool_seconds": 2.5, "end_session": True}
    headers = {"x-agentinfer-expected-tool-seconds": "2.5", "x-agentinfer-end-session": "true"}
    text = chat().choices[0].message.content
    for options in (
        {"service_tier": "flex", "prompt_cache_retention": "24h"},
        {"extra_body": hints, "prompt_cache_key": "hinted"},
        {"extra_headers": headers, "prompt_cache_key": "hinted"},
    ):
        assert chat(**options).choices[0].message.content == text, options
    refused = openai.BadRequestError
    raises(refused, lambda: chat(service_tier="fast"), param="service_tier", says="'flex'")
    retention = "prompt_cache_retention"
    raises(refused, lambda: chat(prompt_cache_retention="1h"), param=retention, says="'24h'")
    raises(refused, lambda: chat(extra_body={"priority": "high"}), param="priority", says="i32")
    for name, says in (
        ("x-agentinfer-expected-tool-seconds", "a number of seconds"),
        ("x-agentinfer-end-session", "true or false"),
    ):
        raises(refused, lambda: chat(extra_headers={name: "soon"}), param=name, says=says)


def long_session(pages):
    """A session whose tool has returned so many pages, each of some 400 tokens."""
    messages = [{"role": "user", "content": "How tall is the tower of Lindau?"}]
    for number in range(pages):
        call = {"id": f"call_{number}", "type": "function", "function": {
            "name": "read_page", "arguments": json.dumps({"number": number})}}
        lines = [f"Line {line} of page {number} tells of boats, bridges and old roads."
                 for line in range(24)]
        lines[12] = f"The tower of Lindau is {30 + number} metres tall, says page {number}."
        messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
        messages.append(
            {"role": "tool", "tool_call_id": f"call_{number}", "content": "\n".join(lines)})
    return messages


def test_a_session_goes_on_past_the_window():
    messages = long_session(CONTEXT_TOKENS // 300)
    raises(openai.BadRequestError, lambda: chat(messages), code="context_length_exceeded")
    raw = client.chat.completions.with_raw_response.create(
        model=MODEL, messages=messages, max_completion_tokens=8, extra_body={"compress": True})
    usage = raw.parse().usage
    full = usage.prompt_tokens_details.model_extra["full_tokens"]
    assert usage.prompt_tokens < CONTEXT_TOKENS < full, (usage.prompt_tokens, full)
    assert int(raw.headers["x-agentinfer-distilled"]) > 0
    view = client.post("/chat/view", cast_to=object, body={
        "model": MODEL, "messages": messages, "compress": True})
    assert len(view["messages"]) == len(messages)
    for result in view["distilled"]:
        original = client.post("/memory/recall", cast_to=object, body={"handle": result["handle"]})
        assert original["content"] == messages[result["index"]]["content"]
        kept = view["messages"][result["index"]]["content"]
        assert result["handle"] in kept, kept


def test_completions():
    options = {"model": MODEL, "prompt": "One, two, three,", "temperature": 0, "max_tokens": 8}
    whole = client.completions.create(**options)
    assert whole.object == "text_completion" and whole.choices[0].text.strip()
    assert whole.usage.completion_tokens == 8
    chunks = client.completions.create(**options, stream=True)
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text


def test_errors():
    raises(openai.NotFoundError, lambda: chat(model="gpt-4"), code="model_not_found", says="gpt-4")
    raises(openai.BadRequestError, lambda: chat(temperature=-1), param="temperature")
    raises(openai.BadRequestError, lambda: chat([]), param="messages")
    raises(
        openai.BadRequestError,
        lambda: chat([{"role": "user", "content": "word " * 2 * CONTEXT_TOKENS}]),
        code="context_length_exceeded",
        says=str(CONTEXT_TOKENS),
    )
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nonsense"}}}
    raises(openai.BadRequestError, lambda: chat(response_format=schema), says="nonsense")
    wrong = client.with_options(api_key="wrong")
    raises(openai.AuthenticationError, lambda: wrong.models.list(), code="invalid_api_key")


def test_request_id():
    raw = client.chat.completions.with_raw_response.create(
        model=MODEL, messages=HELLO, max_completion_tokens=1, extra_headers={"x-request-id": "mine"}
    )
    assert raw.headers["x-request-id"] == "mine"
    assert chat(max_completion_tokens=1)._request_id.startswith("req-")


def main():
    tests = [(name, test) for name, test in globals().items() if name.startswith("test_")]
    failed = []
    for name, test in tests:
        began = time.monotonic()
        try:
            test()
            print(f"ok     {name} ({time.monotonic() - began:.1f} s)", flush=True)
        except Exception:
            failed.append(name)
            print(f"FAILED {name}\n{traceback.format_exc()}", flush=True)
    print(f"{len(tests) - len(failed)} of {len(tests)} passed")
    sys.exit(bool(failed))


main()
