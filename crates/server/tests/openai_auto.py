"""An agent loop as users write it on the real `openai` package, with model="auto".

Run by tests/openai_client.rs as `openai_auto.py URL KEY MODEL CONTEXT_TOKENS` against a server of
two tiers under the policy paper:warm_up=2:burst=1. The loop knows nothing of tiers; what the server
says about them is read from the headers of its responses by a hook.
"""

import json
import sys
import urllib.request

import openai

URL, KEY, MODEL = sys.argv[1], sys.argv[2], sys.argv[3]

decisions = []


def note(response):
    headers = response.headers
    decisions.append((headers.get("x-agentinfer-tier"), headers.get("x-agentinfer-reason")))


http = openai.DefaultHttpxClient(event_hooks={"response": [note]})
client = openai.OpenAI(
    base_url=f"{URL}/v1", api_key=KEY, max_retries=0, timeout=120, http_client=http
)

LOOK_UP = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Looks something up in the register of a town",
        "parameters": {
            "type": "object",
            "properties": {
                "town": {"type": "string", "enum": ["Zürich", "Orléans", "Łódź"]},
                "year": {"type": "integer", "minimum": 1900, "maximum": 1999},
            },
            "required": ["town", "year"],
            "additionalProperties": False,
        },
    },
}

# So that a small model calls something at all; its last word has no calls.
CALLS = 5


def look_up(town, year):
    return f"In {year}, {town} had {1000 + 7 * year} inhabitants."


def whole(messages, choice):
    answer = client.chat.completions.create(
        model="auto", messages=messages, tools=[LOOK_UP], tool_choice=choice,
        parallel_tool_calls=False, max_completion_tokens=64, seed=len(messages),
    )
    return answer.choices[0].message.model_dump(exclude_none=True), answer.model


def streamed(messages, choice):
    text, calls, model = "", [], None
    for chunk in client.chat.completions.create(
        model="auto", messages=messages, tools=[LOOK_UP], tool_choice=choice,
        parallel_tool_calls=False, max_completion_tokens=64, seed=len(messages), stream=True,
    ):
        model = chunk.model
        delta = chunk.choices[0].delta
        text += delta.content or ""
        for part in delta.tool_calls or []:
            if part.index == len(calls):
                calls.append({"id": part.id, "type": "function", "function": {
                    "name": part.function.name, "arguments": ""}})
            calls[part.index]["function"]["arguments"] += part.function.arguments or ""
    message = {"role": "assistant", "content": text or None}
    return message | ({"tool_calls": calls} if calls else {}), model


def agent(ask):
    """Returns the conversation and the models that took its steps."""
    messages = [{"role": "user", "content": "Which of the three towns has grown the most?"}]
    models = []
    while True:
        message, model = ask(messages, "required" if len(models) < CALLS else "none")
        messages.append(message)
        models.append(model)
        if not message.get("tool_calls"):
            return messages, models
        for call in message["tool_calls"]:
            arguments = json.loads(call["function"]["arguments"])
            result = {"role": "tool", "tool_call_id": call["id"], "content": look_up(**arguments)}
            messages.append(result)


def metric(name, label=""):
    request = urllib.request.Request(f"{URL}/metrics", headers={"authorization": f"Bearer {KEY}"})
    with urllib.request.urlopen(request) as response:
        lines = response.read().decode().splitlines()
    found = [line for line in lines if line.startswith(name) and label in line]
    return sum(float(line.rsplit(" ", 1)[1]) for line in found)


def main():
    listed = [model.id for model in client.models.list()]
    assert listed == [MODEL, "other", "auto"], listed
    assert decisions.pop() == (None, None)
    for ask in (whole, streamed):
        decisions.clear()
        messages, models = agent(ask)
        assert len(models) == CALLS + 1 == len(decisions), decisions
        print(ask.__name__, decisions)
        names = {"small": MODEL, "large": "other"}
        assert [names[tier] for tier, _ in decisions] == models, (decisions, models)
        # The session begins with the large tier; then the small one has its turn.
        assert decisions[:2] == [("large", "warm_up")] * 2, decisions
        assert decisions[2] == ("small", "progress"), decisions
        assert {reason for _, reason in decisions[3:]} <= {"progress", "burst", "burst_spent"}
        assert messages[-1]["content"], messages
    steps = 2 * (CALLS + 1)
    assert metric("agentinfer_auto_steps_total{") == steps
    assert metric("agentinfer_auto_checks_asked_total") >= steps - 2
    assert metric("agentinfer_auto_prewarms_total") >= 2
    named = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "Hello"}], max_completion_tokens=2
    )
    assert named.model == MODEL and decisions[-1] == (None, None)
    for name in ("checks_total", "checks_asked", "switches", "switch_prefill", "prewarmed_tokens"):
        print(name, metric(f"agentinfer_auto_{name}"))


main()
