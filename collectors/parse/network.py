"""Network traffic of the server's network namespace."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from engram_diagnose.collectors.parse.figures import (
    Found,
    Missing,
    UnparsedError,
    integer,
    rate,
    share,
)
from engram_diagnose.collectors.parse.lines import parse_tree
from engram_diagnose.collectors.parse.recipe import Key, Pair, Recipe
from engram_diagnose.engine.facts.fact import Reason

_BYTES_PER_MBIT: Final = 125_000


class LinkCounters(NamedTuple):
    """Bytes and dropped packets of one interface, both ways."""

    rx_bytes: int
    tx_bytes: int
    drops: int


def parse_net_dev(text: str) -> dict[str, LinkCounters]:
    """
    Counters by interface.

    `  eth0: 151543134    4193    0    0    0     0          0         0   258729    2094 …`
    """
    links = {}
    for line in text.splitlines():
        name, colon, rest = line.rpartition(":")
        fields = rest.split()
        if colon and len(fields) >= 16:
            figures = [integer(field) for field in fields]
            drops = figures[3] + figures[11]
            links[name.strip()] = LinkCounters(figures[0], figures[8], drops)
    return links


def parse_snmp(text: str) -> dict[str, dict[str, int]]:
    """
    Counters by protocol from line pairs: `Tcp: InSegs OutSegs RetransSegs` and `Tcp: 4149 2044
    0`.
    """
    tables: dict[str, dict[str, int]] = {}
    names: dict[str, list[str]] = {}
    for line in text.splitlines():
        protocol, colon, rest = line.partition(":")
        fields = rest.split()
        if not colon:
            continue
        if protocol not in names:
            names[protocol] = fields
        else:
            rows = zip(names.pop(protocol), map(integer, fields), strict=False)
            tables[protocol] = dict(rows)
    return tables


def _traffic(pair: Pair, links: str) -> Mapping[Key, Found]:
    before, after = parse_net_dev(pair.before), parse_net_dev(pair.after)
    chosen = _counted([name for name in after if name in before], links)
    if not chosen:
        raise UnparsedError("no interface but the loopback")
    old = LinkCounters(*(sum(column) for column in zip(*(before[n] for n in chosen), strict=True)))
    new = LinkCounters(*(sum(column) for column in zip(*(after[n] for n in chosen), strict=True)))
    both = rate(old.rx_bytes + old.tx_bytes, new.rx_bytes + new.tx_bytes, pair.seconds)
    return {
        "net.rx_rate": rate(old.rx_bytes, new.rx_bytes, pair.seconds),
        "net.tx_rate": rate(old.tx_bytes, new.tx_bytes, pair.seconds),
        "net.total_rate": both,
        "net.drop_rate": rate(old.drops, new.drops, pair.seconds),
    }


def _counted(names: list[str], links: str) -> list[str]:
    """
    The interfaces to add up: those with hardware behind them, else all but the loopback.

    Bridges, bonds and tunnels carry the same bytes a second time.
    """
    tree = parse_tree(links) if links else {}
    physical = [name for name in names if f"{name}/device/uevent" in tree]
    return sorted(physical or [name for name in names if name != "lo"])


def _retransmits(pair: Pair) -> Mapping[Key, Found]:
    old, new = parse_snmp(pair.before).get("Tcp", {}), parse_snmp(pair.after).get("Tcp", {})
    wanted = ("OutSegs", "RetransSegs")
    if not all(name in old and name in new for name in wanted):
        return {}
    sent, again = (new[name] - old[name] for name in wanted)
    return {"net.retrans_share": share(again, sent, "no TCP segment was sent")}


def _speed(links: str) -> Mapping[Key, Found]:
    """The fastest link that is up; virtual ones say -1."""
    files = parse_tree(links)
    speeds = [
        integer(text.strip())
        for path, text in files.items()
        if path.endswith("/speed") and files.get(path.replace("/speed", "/operstate"), "up").strip() == "up"
    ]
    fastest = max(speeds, default=-1)
    if fastest <= 0:
        return {"net.link_speed": Missing(Reason.SOURCE_ABSENT, "no link says its speed")}
    return {"net.link_speed": float(fastest * _BYTES_PER_MBIT)}


NETWORK: Final = (
    Recipe(
        ("net.rx_rate", "net.tx_rate", "net.total_rate", "net.drop_rate"),
        _traffic,
        pairs=("/proc/net/dev",),
        optional=("/sys/class/net",),
    ),
    Recipe(("net.retrans_share",), _retransmits, pairs=("/proc/net/snmp",)),
    Recipe(("net.link_speed",), _speed, texts=("/sys/class/net",)),
)
"""Traffic of the whole namespace: the kernel keeps none per process."""
