"""Replays recorded calls with ArcticInference's suffix decoding (arctic-inference on PyPI).

Driven by `agentinfer bench sam`: one JSON object a line on standard input, one answer a line on
standard output. First it says which version it is. Then it is given the calls of a set, as
{"calls": [{"prompt": [..], "output": [..]}]}, and, any number of times, what to replay of them:
{"fill": [..], "measured": [..], "max_draft": .., "max_spec_factor": .., "min_token_prob": ..,
"shared": ..}.

The cache is driven as by its own vLLM integration: a request begins with its prompt, is told what
was said after each step, and ends; drafts are paths. What it knows of a session's past is what the
prompt holds, and, unless `shared` is false, all earlier responses in its global tree.
"""

import gc
import json
import sys
import time
from importlib.metadata import version

import numpy as np
from arctic_inference.suffix_decoding import SuffixDecodingCache


def extend(cache, name, context, at, end, seen):
    """The model said what is from `at` to `end`; returns `end`."""
    began = time.perf_counter_ns()
    cache.add_active_response(name, context[at:end])
    seen["extend_ns"] += time.perf_counter_ns() - began
    return end


def replay(cache, name, call, job, seen):
    """One call, step by step; adds to the counts and times in `seen`. Its first token comes with
    the prompt's own forward pass, before any draft."""
    prompt, output = call
    context = np.concatenate([prompt, output])
    depth = cache.max_tree_depth
    began = time.perf_counter_ns()
    cache.start_request(name, prompt)
    seen["begin_ns"] += time.perf_counter_ns() - began
    at, end = len(prompt), len(context)
    at = extend(cache, name, context, at, min(at + 1, end), seen)
    while at < end:
        recent = context[max(0, at - depth):at]
        began = time.perf_counter_ns()
        draft = cache.speculate(
            name,
            recent,
            max_spec_tokens=job["max_draft"],
            max_spec_factor=job["max_spec_factor"],
            min_token_prob=job["min_token_prob"],
        )
        seen["draft_ns"].append(time.perf_counter_ns() - began)
        agreed = 0
        for guess, said in zip(draft.token_ids, context[at:].tolist()):
            if guess != said:
                break
            agreed += 1
        said = min(agreed + 1, end - at)
        at = extend(cache, name, context, at, at + said, seen)
        seen["tokens"] += said
        seen["drafted"] += len(draft.token_ids)
        seen["accepted"] += agreed
    cache.stop_request(name)
    seen["extended_tokens"] += len(output)
    seen["prompt_tokens"] += len(prompt)
    seen["calls"] += 1


def run(calls, job):
    """Fills a new cache, replays the calls that are measured, and reports."""
    cache = SuffixDecodingCache(max_cached_requests=-1 if job["shared"] else 0)
    for index in job["fill"]:
        # Only responses outlive their request, so the prompts need not be indexed.
        cache.start_request(index, [])
        cache.add_active_response(index, calls[index][1])
        cache.stop_request(index)
    seen = {"calls": 0, "tokens": 0, "prompt_tokens": 0, "drafted": 0, "accepted": 0}
    seen |= {"draft_ns": [], "begin_ns": 0, "extend_ns": 0, "extended_tokens": 0}
    for index in job["measured"]:
        replay(cache, index, calls[index], job, seen)
    held = seen["extended_tokens"] + sum(len(calls[index][1]) for index in job["fill"])
    drafts = seen.pop("draft_ns")
    seen["steps"] = len(drafts)
    drafts = drafts or [0]
    seen["draft_ns_p50"], seen["draft_ns_p99"] = np.percentile(drafts, [50, 99]).tolist()
    if job["shared"]:
        # The package's own estimate of its tree.
        seen["bytes_per_token"] = cache._global_tree.estimate_memory() / held
    return seen


def main():
    # As timeit does: a collection in the middle of a draft is not the draft's.
    gc.disable()
    print(json.dumps({"version": version("arctic-inference")}), flush=True)
    calls = []
    for line in sys.stdin:
        job = json.loads(line)
        if "calls" in job:
            both = ("prompt", "output")
            calls = [tuple(np.array(c[key], np.int32) for key in both) for c in job["calls"]]
        else:
            print(json.dumps(run(calls, job)), flush=True)
        del job
        gc.collect()


main()
