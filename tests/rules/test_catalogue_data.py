"""The catalogue and the dialects hold together: names, units, ranges, and PromQL that parses."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from engram_diagnose.cli import COMMANDS
from engram_diagnose.engine.facts.catalogue import TARGET_SETS
from engram_diagnose.engine.facts.scope import DIMENSIONS, scope_of
from engram_diagnose.engine.facts.unit import NUMBER, UNITS, parse_quantity
from engram_diagnose.engine.language import source
from engram_diagnose.engine.language.catalogue_reader import (
    read_facts,
    read_parameters,
    read_targets,
)
from engram_diagnose.engine.language.dialect_reader import read_dialect
from engram_diagnose.engine.language.problem import Problems

RULES = Path(__file__).parents[2] / "rules"
CATALOGUE = RULES / "catalogue"
DIALECTS = sorted(path.stem for path in (RULES / "dialects").glob("*.yaml"))
FILES = sorted(CATALOGUE.glob("*.yaml")) + sorted((RULES / "dialects").glob("*.yaml"))
ORIGINS = frozenset(
    [
        "prometheus",
        "process",
        "host",
        "perf",
        "kernels",
        "config",
        "alert",
        "telemetry",
        "rules",
        "operator",
    ]
)
NO_WAY_TO_GET = {"rules", "alert"}
WAYS = {"promql", "counter", "json", "http"}
KEY = re.compile(r"(?P<name>[a-z][a-z0-9_.]*)(?:\{(?P<labels>[^{}]*)\})?")
FUNCTIONS = frozenset(
    [
        "rate",
        "increase",
        "avg_over_time",
        "max_over_time",
        "min_over_time",
        "histogram_quantile",
        "clamp_min",
        "clamp_max",
    ]
)


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


FACTS: dict[str, Any] = read(CATALOGUE / "facts.yaml")["facts"]
PARAMETERS: dict[str, Any] = read(CATALOGUE / "parameters.yaml")["parameters"]
TARGETS: list[dict[str, Any]] = read(CATALOGUE / "targets.yaml")["targets"]
KNOWN = {**FACTS, **PARAMETERS}


def dialect(name: str) -> Any:
    return read(RULES / "dialects" / f"{name}.yaml")


def split_key(key: str) -> tuple[str, dict[str, str]]:
    """`name{label=value, …}` apart."""
    match = KEY.fullmatch(key)
    assert match, key
    pairs = [part.split("=") for part in (match["labels"] or "").split(",") if part]
    return match["name"], {label.strip(): value.strip() for label, value in pairs}


def sources(name: str) -> Iterator[tuple[str, dict[str, str], Any]]:
    for key, entry in dialect(name)["facts"].items():
        fact, labels = split_key(key)
        yield fact, labels, entry


def expressions(name: str) -> Iterator[tuple[str, Any]]:
    """Each fact with the tree of its PromQL."""
    for fact, _, entry in sources(name):
        text = entry.get("promql") or entry.get("counter")
        if text:
            yield fact, promql_parser.parse(text.replace("$window", "5m"))


def parts(tree: Any) -> Iterator[Any]:
    """The tree and all below it."""
    yield tree
    below = {
        promql_parser.BinaryExpr: lambda: (tree.lhs, tree.rhs),
        promql_parser.AggregateExpr: lambda: (tree.expr,),
        promql_parser.ParenExpr: lambda: (tree.expr,),
        promql_parser.Call: lambda: tree.args,
        promql_parser.MatrixSelector: lambda: (tree.vector_selector,),
    }.get(type(tree), tuple)
    for part in below():
        yield from parts(part)


def labels_of(tree: Any) -> frozenset[str] | None:
    """The labels an aggregated result carries; None for a number, which goes with any."""
    if isinstance(tree, promql_parser.NumberLiteral):
        return None
    if isinstance(tree, promql_parser.ParenExpr):
        return labels_of(tree.expr)
    if isinstance(tree, promql_parser.AggregateExpr):
        return frozenset(tree.modifier.labels if tree.modifier else ())
    if isinstance(tree, promql_parser.BinaryExpr):
        left, right = labels_of(tree.lhs), labels_of(tree.rhs)
        return right if left is None else left
    assert isinstance(tree, promql_parser.Call), f"{tree} is not aggregated"
    inner = next(found for arg in tree.args if (found := labels_of(arg)) is not None)
    return inner - {"le"} if tree.func.name == "histogram_quantile" else inner


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_mapping_has_a_key_twice(path: Path) -> None:
    def repeated(node: yaml.Node) -> Iterator[str]:
        if isinstance(node, yaml.MappingNode):
            keys = [key.value for key, _ in node.value]
            yield from (f"{node.start_mark.line}: {key}" for key in keys if keys.count(key) > 1)
        for child in node.value if isinstance(node, yaml.CollectionNode) else ():
            for part in child if isinstance(child, tuple) else (child,):
                yield from repeated(part)

    assert list(repeated(yaml.compose(path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_reader_takes_every_file_without_a_problem(path: Path) -> None:
    problems = Problems()
    root = source.parse_document(path.read_text(encoding="utf-8"), file=path.name, problems=problems)
    assert root is not None
    for key, reader in (("facts", read_facts), ("parameters", read_parameters)):
        node = root.values.get(key)
        if isinstance(node, source.Mapping) and "dialect" not in root.values:
            reader(node, problems)
    if isinstance(targets := root.values.get("targets"), source.Sequence):
        read_targets(targets, problems)
    if "dialect" in root.values:
        read_dialect(root, problems)
    assert [str(problem) for problem in problems.errors + problems.warnings] == []


# Facts and parameters


def test_the_catalogue_knows_at_least_130_facts() -> None:
    assert len(FACTS) >= 130


def test_a_parameter_is_not_repeated_among_the_facts() -> None:
    assert set(FACTS) & set(PARAMETERS) == set()


@pytest.mark.parametrize("name", KNOWN)
def test_a_fact_says_what_it_is_in_which_unit_and_range(name: str) -> None:
    entry = KNOWN[name]
    assert re.fullmatch(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)+", name)
    assert entry["doc"].strip()
    kind = entry.get("kind", "number")
    assert kind in ("number", "bool", "text")
    assert (kind == "number") == ("unit" in entry)
    assert set(entry.get("scope", [])) <= set(DIMENSIONS)
    if kind == "number":
        assert entry["unit"] in UNITS
        low, high = entry["range"]
        assert low is None or high is None or low < high
        if entry["unit"] == "share":
            assert low == 0
            assert high in (1, None)


@pytest.mark.parametrize("name", FACTS)
def test_a_fact_says_where_it_comes_from_and_how_to_get_it(name: str) -> None:
    entry = FACTS[name]
    assert entry["origin"] in ORIGINS
    assert entry["source"].strip()
    assert ("get_by" in entry) == (entry["origin"] not in NO_WAY_TO_GET)


def test_advice_on_getting_a_fact_names_commands_that_exist() -> None:
    named = {
        command for entry in FACTS.values() for command in re.findall(r"engram-diagnose (\w+)", entry.get("get_by", ""))
    }
    assert named <= set(COMMANDS)


def test_only_figures_with_history_are_counters() -> None:
    assert [n for n, e in FACTS.items() if e.get("counter") and not e.get("history")] == []


def test_what_rules_derive_has_no_history() -> None:
    derived = [name for name, entry in FACTS.items() if entry["origin"] == "rules"]
    assert [name for name in derived if FACTS[name].get("history")] == []


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_parameter_says_what_changing_it_means(name: str) -> None:
    entry = PARAMETERS[name]
    assert entry["title"].strip()
    assert entry["title"] == entry["title"].rstrip(".")
    assert entry["restart"] in ("reload", "restart", "reindex", "host")
    assert entry["tradeoff"].strip()
    assert ("formula" in entry) != ("Sizing leaves it alone" in entry["doc"])
    for figure, direction in entry.get("effects", {}).items():
        assert figure in FACTS
        assert direction in ("+", "-")


def test_titles_tell_settings_apart() -> None:
    titles = [entry["title"] for entry in PARAMETERS.values()]
    assert sorted(titles) == sorted(set(titles))


def test_the_memory_that_is_shared_is_that_of_the_tiers_and_the_logs_buffer() -> None:
    counted = {name for name, entry in PARAMETERS.items() if entry.get("budget")}
    assert counted == {"config.storage.hot_tier_size", "config.storage.warm_tier_size", "config.wal.buffer_size"}


def test_only_shards_are_never_fewer_than_now() -> None:
    kept = [name for name, entry in PARAMETERS.items() if entry.get("never_lower")]
    assert kept == ["config.storage.hot_tier_shards"]


def test_a_wider_search_is_slower_and_finds_more() -> None:
    effects = PARAMETERS["config.hnsw.ef_search"]["effects"]
    assert effects["op.latency.p99"] == "+"
    assert effects["index.recall_at_10"] == "+"


def test_batching_the_log_states_what_can_be_lost() -> None:
    for name in ("config.wal.sync_mode", "config.wal.flush_interval"):
        assert "lost on power failure" in PARAMETERS[name]["tradeoff"]


# Targets


def target(name: str, **labels: str) -> dict[str, Any]:
    (found,) = (t for t in TARGETS if t["name"] == name and t.get("labels", {}) == labels)
    return found


@pytest.mark.parametrize("entry", TARGETS, ids=lambda e: f"{e['name']}{e.get('labels', '')}")
def test_a_target_is_a_figure_of_a_known_fact(entry: dict[str, Any]) -> None:
    spec = FACTS[entry["name"]]
    assert entry["better"] in ("lower", "higher")
    assert entry["doc"].strip()
    assert set(entry.get("labels", {})) <= set(spec.get("scope", []))
    stated = [entry[name] for name in TARGET_SETS if name in entry]
    assert stated
    for figure in stated:
        quantity = parse_quantity(figure)
        assert quantity.unit.dimension == UNITS[spec["unit"]].dimension


def test_no_target_is_given_twice() -> None:
    keys = [(entry["name"], scope_of(entry.get("labels", {}))) for entry in TARGETS]
    assert len(keys) == len(set(keys))


def test_the_three_sets_are_the_scripts_the_visions_and_the_reference_tables() -> None:
    recall = target("op.latency.p99", operation="recall")
    assert (recall["floor"], recall["target"], recall["baseline"]) == ("50ms", "10ms", "8ms")
    store = target("op.latency.p99", operation="store")
    assert (store["floor"], store["target"], store["baseline"]) == ("100ms", "10ms", "5ms")
    assert target("op.rate", operation="store")["floor"] == "1000/s"
    assert target("op.rate", operation="recall")["baseline"] == "25000/s"
    assert target("ops.rate")["target"] == "10000/s"
    assert target("ops.rate")["baseline"] == "18000/s"


def test_activation_and_completion_without_hops_count_as_several_hops() -> None:
    for operation in ("activation", "pattern_completion"):
        assert target("op.latency.p999", operation=operation)["target"] == "50ms"
    assert target("op.latency.p99", operation="activation", hops="single")["target"] == "10ms"
    # What 999 of 1,000 keep, 99 of 100 keep all the more.
    assert target("op.latency.p99", operation="activation")["target"] == "50ms"


# Dialects


def test_the_two_dialects_of_the_server_and_the_one_of_its_host_ship() -> None:
    assert DIALECTS == ["engram-0.1", "guide", "node-exporter"]


@pytest.mark.parametrize("name", DIALECTS)
def test_a_dialect_maps_known_facts_each_from_one_source(name: str) -> None:
    for fact, labels, entry in sources(name):
        assert fact in KNOWN
        scope = set(KNOWN[fact].get("scope", []))
        assert len(WAYS & set(entry)) == 1
        assert set(labels) | set(entry.get("labels", {})) <= scope
        assert set(labels).isdisjoint(entry.get("labels", {}))


@pytest.mark.parametrize("name", DIALECTS)
def test_a_counter_is_read_as_one_and_nothing_else_is(name: str) -> None:
    for fact, _, entry in sources(name):
        assert ("counter" in entry) == bool(KNOWN[fact].get("counter")), fact


@pytest.mark.parametrize("name", DIALECTS)
def test_every_setting_of_a_dialect_is_a_parameter_in_a_fitting_unit(name: str) -> None:
    for parameter, entry in dialect(name)["config"]["keys"].items():
        spec = PARAMETERS[parameter]
        unit = spec.get("unit")
        assert ("unit" in entry) == (unit is not None)
        if unit is not None:
            assert UNITS[entry["unit"]].dimension == UNITS[unit].dimension
        if "values" in spec and entry["default"] is not None:
            assert entry["default"] in spec["values"]


def test_the_guide_has_a_key_for_every_setting_of_the_server_and_names_none_twice() -> None:
    keys = dialect("guide")["config"]["keys"]
    of_the_release = {name for name, key in dialect("engram-0.1")["config"]["keys"].items() if key["key"]}
    assert set(keys) == {name for name in PARAMETERS if name.startswith("config.")} - of_the_release
    names = [name for entry in keys.values() for name in (entry["key"], *entry.get("aliases", []))]
    assert len(names) == len(set(names))
    assert keys["config.storage.hot_tier_size"]["key"] == "storage.hot_tier_size_mb"
    assert "consolidation.max_batch_size" in keys["config.consolidation.batch_size"]["aliases"]


@pytest.mark.parametrize("name", DIALECTS)
def test_promql_is_of_the_part_of_the_language_that_is_evaluated(name: str) -> None:
    for fact, tree in expressions(name):
        for part in parts(tree):
            if isinstance(part, promql_parser.Call):
                assert part.func.name in FUNCTIONS, fact
            if isinstance(part, promql_parser.AggregateExpr):
                assert str(part.op) in ("sum", "avg", "min", "max", "count"), fact


@pytest.mark.parametrize("name", DIALECTS)
def test_both_sides_of_an_operator_carry_the_same_labels(name: str) -> None:
    for fact, tree in expressions(name):
        for part in parts(tree):
            if isinstance(part, promql_parser.BinaryExpr):
                left, right = labels_of(part.lhs), labels_of(part.rhs)
                assert left is None or right is None or left == right, fact


@pytest.mark.parametrize("name", DIALECTS)
def test_the_labels_of_an_answer_are_the_ones_the_scope_is_read_from(name: str) -> None:
    for fact, _, entry in sources(name):
        if "promql" in entry:
            tree = promql_parser.parse(entry["promql"].replace("$window", "5m"))
            assert labels_of(tree) == set(entry.get("labels", {}).values()), fact


@pytest.mark.parametrize("name", DIALECTS)
def test_quantiles_are_of_rates_summed_by_bucket(name: str) -> None:
    for fact, tree in expressions(name):
        for part in parts(tree):
            if isinstance(part, promql_parser.Call) and part.func.name == "histogram_quantile":
                quantile, buckets = part.args
                assert 0 < quantile.val < 1, fact
                assert "le" in buckets.modifier.labels, fact
                assert buckets.expr.func.name == "rate", fact


def test_p999_is_the_quantile_of_0_999() -> None:
    (entry,) = (e for f, labels, e in sources("guide") if f == "op.latency.p999" and not labels)
    assert entry["promql"].startswith("histogram_quantile(0.999, ")


def names_in(tree: Any) -> set[str]:
    """The metrics an expression reads."""
    return {part.name for part in parts(tree) if isinstance(part, promql_parser.VectorSelector)}


def test_foreign_allocations_are_read_under_node_exporters_own_name() -> None:
    names = {name for _, tree in expressions("node-exporter") for name in names_in(tree)}
    assert "node_memory_numa_numa_foreign_total" in names
    assert "node_memory_numa_foreign_total" not in names


def test_names_that_the_guide_does_not_state_are_marked_invented() -> None:
    stated = re.compile(
        r"engram_memory_operation_duration_seconds_(bucket|sum|count)"
        r"|engram_wal_flush_duration_seconds_(bucket|count)"
        r"|engram_activation_cache_(hits|requests)_total"
        r"|engram_(recall_|store_)?operations_total"
        r"|engram_graph_edges_per_node|engram_recall_result_size"
        r"|engram_(memory|data)_bytes|engram_storage_tier_memories_count"
        r"|process_\w+|up"
    )
    for fact, labels, entry in sources("guide"):
        text = (entry.get("promql") or entry["counter"]).replace("$window", "5m")
        invented = not all(stated.fullmatch(name) for name in names_in(promql_parser.parse(text)))
        assert entry.get("invented", False) == (invented or "hops" in labels), fact


def test_dialects_are_told_apart_by_names_of_their_own() -> None:
    names = [name for known in DIALECTS for name in dialect(known)["detect"]]
    assert len(names) == len(set(names))


# The release


def test_the_release_gives_no_rate_of_what_it_only_calls_a_counter() -> None:
    for fact, tree in expressions("engram-0.1"):
        assert not any(isinstance(part, promql_parser.Call) for part in parts(tree)), fact


def test_the_release_says_nothing_of_recalls() -> None:
    known = {(fact, labels.get("operation")) for fact, labels, _ in sources("engram-0.1")}
    assert not any(operation == "recall" for _, operation in known)
    assert {"recall.rate", "ops.rate"}.isdisjoint(fact for fact, _ in known)


def test_rates_of_the_release_are_five_minute_sums_over_300_seconds() -> None:
    for fact, _, entry in sources("engram-0.1"):
        if UNITS[FACTS[fact].get("unit", "")].dimension == UNITS["/s"].dimension:
            assert entry["factor"] == pytest.approx(1 / 300), fact


def test_the_json_of_the_release_is_named_by_window_name_and_field() -> None:
    for fact, _, entry in sources("engram-0.1"):
        if "json" in entry:
            assert re.fullmatch(
                r"five_minutes:[a-z0-9_]+\.(count|sum|mean|min|max|p50|p90|p99)"
                r"|export:(dropped|queue_depth)|snapshot:schema_version",
                entry["json"],
            ), fact


def test_the_release_reads_none_of_the_guides_keys_and_has_its_constants_as_defaults() -> None:
    config = dialect("engram-0.1")["config"]
    guides = dialect("guide")["config"]["keys"]
    assert all(config["keys"][name]["key"] is None for name in set(config["keys"]) & set(guides))
    constants = {name: entry["default"] for name, entry in config["keys"].items()}
    assert constants["config.hnsw.m"] == 16
    assert constants["config.hnsw.max_m0"] == 32
    assert constants["config.hnsw.ef_construction"] == 200
    assert constants["config.hnsw.ef_search"] == 64
    assert constants["config.wal.sync_mode"] == "batch"
    assert constants["config.activation.max_traversal_depth"] == 4
    assert constants["config.activation.prefetch_distance"] == 64


def test_the_release_has_settings_of_its_own_and_does_not_use_all_it_reads() -> None:
    keys = {entry["key"]: entry for entry in dialect("engram-0.1")["config"]["keys"].values() if entry["key"]}
    assert set(keys) == {
        "feature_flags.spreading_api_beta",
        "persistence.hot_capacity",
        "persistence.warm_capacity",
        "persistence.cold_capacity",
        "router.connection_pool_size",
        "router.request_timeout_ms",
        "router.max_retries",
    }
    assert {key for key, entry in keys.items() if entry.get("unused")} == {
        f"persistence.{tier}_capacity" for tier in ("hot", "warm", "cold")
    }
    stated = {key: entry["default"] for key, entry in keys.items() if entry["default"] is not None}
    assert stated == {
        "router.connection_pool_size": 4,
        "router.request_timeout_ms": 3000,
        "router.max_retries": 3,
    }


def test_plain_numbers_are_not_times_or_sizes() -> None:
    for entry in TARGETS:
        for name in TARGET_SETS:
            if name in entry and re.fullmatch(r"[\d.]+", entry[name]):
                assert UNITS[FACTS[entry["name"]]["unit"]].dimension == NUMBER
