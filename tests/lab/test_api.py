"""What the lab answers: the routes, what they take, and how they say what is wrong."""

import json

import numpy as np
import pytest
from fake_front import Lab

REMEMBER = "/api/v1/memories/remember"
RECALL = "/api/v1/memories/recall"
VECTOR = [0.25] * 768


def test_a_memory_is_stored_and_its_number_told(lab: Lab) -> None:
    told = lab.ask("POST", REMEMBER, body={"content": "the cat sat", "confidence": 0.9})
    assert (told.status, told.json["memory_id"]) == (201, "mem_0")
    assert lab.ask("GET", "/api/v1/memories/mem_0").json == {
        "memory_id": "mem_0", "content": "the cat sat", "confidence": 0.9, "lab": True}  # fmt: skip


def test_a_recall_gives_memories_in_the_released_servers_groups_best_first(lab: Lab) -> None:
    told = lab.ask("GET", f"{RECALL}?query=cat+sat&max_results=9")
    memories = told.json["memories"]
    assert [memory["memory_id"] for memory in memories["vivid"]] == ["mem_0", "mem_1", "mem_2"]
    assert [memory["score"] for memory in memories["associated"]] == [0.65, 0.55, 0.45]
    assert [len(memories[name]) for name in ("vivid", "associated", "reconstructed")] == [3, 3, 3]
    operation, space, given = lab.engine.submitted[-1]
    assert (operation, space, given["text"], given["limit"]) == ("recall", "default", b"cat sat", 9)


def test_a_threshold_leaves_out_what_is_less_alike(lab: Lab) -> None:
    memories = lab.ask("GET", f"{RECALL}?query=cat&threshold=0.7").json["memories"]
    assert [len(group) for group in memories.values()] == [3, 0, 0]


def test_the_time_it_took_and_the_contents_come_when_asked_for(lab: Lab) -> None:
    lab.ask("POST", REMEMBER, body={"content": 'a "quoted" cat'})
    told = lab.ask("GET", f"{RECALL}?query=cat&include_metadata=true&include_content=true").json
    assert told["metadata"]["processing_time_ms"] == 1.5
    assert told["memories"]["vivid"][0]["content"] == 'a "quoted" cat'


@pytest.mark.parametrize(
    ("mode", "operation"), [("similarity", "recall"), ("spreading", "activation"), ("hybrid", "activation")]
)
def test_spreading_modes_are_activations(lab: Lab, mode: str, operation: str) -> None:
    assert lab.ask("GET", f"{RECALL}?query=cat&mode={mode}").status == 200
    assert lab.engine.submitted[-1][0] == operation


def test_an_embedding_goes_with_a_store_a_recall_and_a_completion(lab: Lab) -> None:
    bare = ",".join(map(str, VECTOR))
    assert lab.ask("POST", REMEMBER, body={"content": "x", "embedding": VECTOR}).status == 201
    assert lab.ask("GET", f"{RECALL}?embedding={bare}").status == 200
    assert lab.ask("GET", f"{RECALL}?embedding=%5B{bare}%5D").status == 200
    assert lab.ask("POST", "/api/v1/complete", body={"embedding": VECTOR}).status == 200
    for _, _, given in lab.engine.submitted:
        assert given["embedding"].dtype == np.float32
        assert np.all(given["embedding"] == np.float32(0.25))


def test_a_completion_takes_the_released_servers_partial_episode(lab: Lab) -> None:
    partial = {"known_fields": {"what": "cat", "where": "mat"}, "partial_embedding": None}
    assert lab.ask("POST", "/api/v1/complete", body={"partial_episode": partial}).status == 200
    assert lab.engine.submitted[-1][2]["text"] == b"cat mat"
    holes = {"partial_embedding": [0.5, None] * 384}
    assert lab.ask("POST", "/api/v1/complete", body={"partial_episode": holes}).status == 200
    assert lab.engine.submitted[-1][2]["embedding"].sum() == 192


def test_the_header_names_the_space_before_the_body_does(lab: Lab) -> None:
    body = {"content": "x", "memory_space_id": "two"}
    lab.ask("POST", REMEMBER, body=body, headers={"X-Memory-Space": "one"})
    lab.ask("POST", REMEMBER, body=body)
    assert [space for _, space, _ in lab.engine.submitted] == ["one", "two"]
    assert lab.ask("GET", f"{RECALL}?query=x&memory_space_id=two").status == 200


def test_a_space_that_nothing_was_stored_in_is_not_found(lab: Lab) -> None:
    told = lab.ask("GET", f"{RECALL}?query=x", headers={"x-memory-space": "nowhere"})
    assert told.status == 404
    assert "nowhere" in told.trouble


def test_spaces_are_listed_counted_and_removed(lab: Lab) -> None:
    lab.ask("POST", REMEMBER, body={"content": "x"}, headers={"X-Memory-Space": "bench-1"})
    assert lab.ask("GET", "/api/v1/spaces").json["spaces"] == ["default", "bench-1"]
    counts = lab.ask("GET", "/api/v1/memories?limit=0", headers={"X-Memory-Space": "bench-1"}).json["tier_counts"]
    assert counts == {"hot": 1, "warm": 2, "cold": 1, "total": 4}
    assert lab.ask("DELETE", "/api/v1/spaces/bench-1").json["removed"] == "bench-1"
    assert lab.ask("DELETE", "/api/v1/spaces/bench-1").status == 404
    assert lab.ask("GET", "/api/v1/memories?limit=0&memory_space_id=bench-1").status == 404


def test_the_default_space_stays(lab: Lab) -> None:
    told = lab.ask("DELETE", "/api/v1/spaces/default")
    assert (told.status, told.trouble) == (400, "the memory space 'default' stays")


def test_one_space_too_many_is_told(lab: Lab) -> None:
    answers = [lab.ask("POST", REMEMBER, body={"content": "x"}, headers={"X-Memory-Space": f"s{n}"}) for n in range(4)]
    assert [told.status for told in answers] == [201, 201, 201, 507]


@pytest.mark.parametrize("path", ["/health", "/health/alive", "/api/v1/system/health", "/"])
def test_who_asks_for_its_health_learns_that_it_is_a_lab(lab: Lab, path: str) -> None:
    told = lab.ask("GET", path)
    assert (told.status, told.json["lab"]) == (200, True)
    assert told.headers["server"] == "engram-lab"


def test_a_head_has_the_length_and_no_body(lab: Lab) -> None:
    told = lab.ask("HEAD", "/health")
    assert (told.status, told.body) == (200, b"")
    assert int(told.headers["content-length"]) == len(lab.ask("GET", "/health").body)


def test_a_full_engine_is_503_with_a_time_to_come_back(lab: Lab) -> None:
    told = lab.ask("GET", f"{RECALL}?query=busy")
    assert (told.status, told.headers["retry-after"]) == (503, "1")
    assert lab.front.api.counts.refused == {("recall", "default"): 1}


def test_a_full_disk_is_507_and_a_fault_500(lab: Lab) -> None:
    assert lab.ask("POST", REMEMBER, body={"content": "full"}).status == 507
    assert lab.ask("POST", REMEMBER, body={"content": "broken"}).status == 500
    assert lab.ask("POST", REMEMBER, body={"content": "fine"}).status == 201


def test_unknown_routes_and_wrong_methods_are_told_apart(lab: Lab) -> None:
    assert lab.ask("GET", "/nothing/here").status == 404
    assert lab.ask("GET", "/api/v1/memories/mem_77").status == 404
    assert lab.ask("GET", "/api/v1/memories/").status == 404
    wrong = lab.ask("DELETE", RECALL)
    assert (wrong.status, wrong.headers["allow"]) == (405, "GET")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("", "query or embedding"),
        ("query=%20%20", "query or embedding"),
        ("query=x&max_results=0", "between 1 and 100"),
        ("query=x&max_results=101", "between 1 and 100"),
        ("query=x&max_results=-1", "between 1 and 100"),
        ("query=x&max_results=%D9%A3", "between 1 and 100"),
        ("query=x&max_results=" + "9" * 5000, "between 1 and 100"),
        ("query=x&threshold=nan", "between -1 and 1"),
        ("query=x&threshold=high", "between -1 and 1"),
        ("query=x&mode=psychic", "similarity, spreading or hybrid"),
        ("query=" + "x" * 4001, "at most 4000"),
        ("query=x&space=../etc", "letters"),
        ("embedding=1,2,3", "768 numbers, not 3"),
        ("embedding=a", "embedding:"),
        ("embedding=" + ",".join(["NaN"] * 768), "embedding:"),
        ("embedding=" + ",".join(["1e999"] * 768), "embedding"),
        ("embedding=" + ",".join(["1e30"] * 768), "finite length"),
        ("embedding=" + ",".join(["0"] * 768), "direction"),
    ],
)  # fmt: skip
def test_a_recall_that_makes_no_sense_is_400_and_says_which_part(lab: Lab, query: str, said: str) -> None:
    told = lab.ask("GET", f"{RECALL}?{query}")
    assert told.status == 400
    assert said in told.trouble
    assert not lab.engine.submitted


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "there is none"),
        (b"{", "the body"),
        (b"[1]", "object"),
        (b'{"content": 7}', "$.content"),
        (b'{"content": " "}', "empty"),
        (b'{"content": "\xff"}', "the body"),
        (b'{"confidence": 1}', "content"),
        (b'{"content": "x", "confidence": 2}', "between 0 and 1"),
        (b'{"content": "x", "confidence": NaN}', "the body"),
        (b'{"content": "x", "confidence": "high"}', "$.confidence"),
        (b'{"content": "x", "embedding": "abc"}', "$.embedding"),
        (b'{"content": "x", "embedding": [1, 2]}', "768 numbers, not 2"),
        (json.dumps({"content": "x", "embedding": [float("nan")] * 768}).encode(), "the body"),
        (json.dumps({"content": "x", "embedding": [0.0] * 768}).encode(), "direction"),
        (json.dumps({"content": "x" * 4001}).encode(), "at most 4000"),
        (b'{"content": "x", "memory_space_id": "a b"}', "letters"),
        (b"[" * 100_000, "the body"),
    ],
)  # fmt: skip
def test_a_store_that_makes_no_sense_is_400_and_says_which_part(lab: Lab, body: bytes, said: str) -> None:
    told = lab.ask("POST", REMEMBER, body=body)
    assert told.status == 400
    assert said in told.trouble
    assert not lab.engine.submitted


def test_half_a_character_that_json_can_say_and_utf_8_cannot_is_no_traceback(lab: Lab) -> None:
    assert lab.ask("POST", REMEMBER, body=b'{"content": "a \\ud800 b"}').status in (201, 400)


def test_a_body_of_another_kind_is_415(lab: Lab) -> None:
    told = lab.ask("POST", REMEMBER, body=b"content=x", headers={"Content-Type": "text/plain"})
    assert told.status == 415
    charset = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert lab.ask("POST", REMEMBER, body={"content": "x"}, headers=charset).status == 201


def test_repeats_are_counted_where_clients_tell_of_them(lab: Lab) -> None:
    lab.ask("GET", f"{RECALL}?query=x")
    assert not lab.front.api.counts.retries_told
    for attempt in ("0", "1", "2", "many"):
        lab.ask("GET", f"{RECALL}?query=x", headers={"X-Retry-Attempt": attempt})
    assert (lab.front.api.counts.retries_told, lab.front.api.counts.retries) == (True, 2)
