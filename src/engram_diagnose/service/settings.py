"""
What the service is set to: a TOML file, with flags and the environment above it.

Each key stands here once, with its default, its bounds and a sentence that the reference page shows. Secrets are never
among the settings: they name files, which are read when a secret is needed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from engram_diagnose.service.keys import (
    FILE,
    FILES,
    FLAG,
    HEADERS,
    LISTEN,
    MATCHERS,
    NAMES,
    SECRET_URL,
    TEXT,
    URL,
    URLS,
    count,
    key,
    seconds,
)

MEBIBYTE: Final = 1 << 20
DAY: Final = 86400.0


@dataclass(frozen=True, slots=True)
class Login:
    """How to present oneself to a server, and which servers to trust."""

    bearer_token_file: Path | None = key(None, FILE, "File with a bearer token.")
    basic_auth_file: Path | None = key(None, FILE, "File with `user:password`. Excludes the bearer token.")
    headers: Mapping[str, str] = key({}, HEADERS, "Further headers, such as `X-Scope-OrgID`.", hidden=True)
    ca_file: Path | None = key(None, FILE, "Certificates to trust instead of the system's.")
    client_cert: Path | None = key(None, FILE, "Client certificate, PEM.")
    client_key: Path | None = key(None, FILE, "Its key, when that is in a file of its own.")
    insecure: bool = key(False, FLAG, "Do not verify the certificate.")
    timeout_seconds: float = key(10.0, seconds(0.1, 300), "Longest wait for one answer.")


@dataclass(frozen=True, slots=True)
class Auth:
    """Who may call. With neither, everybody who reaches the port."""

    bearer_token_files: tuple[Path, ...] = key(
        (),
        FILES,
        "Files with one token each; any of them lets in, so that a token can be changed without a gap.",
        most=2,
    )
    basic_auth_file: Path | None = key(
        None, FILE, "File with lines of `user:password`, or `user:` and what `serve hash` prints."
    )

    @property
    def required(self) -> bool:
        """Whether a caller has to say who it is."""
        return bool(self.bearer_token_files) or self.basic_auth_file is not None


@dataclass(frozen=True, slots=True)
class Tls:
    """The service's own certificate. A reload reads both files again."""

    certificate: Path | None = key(None, FILE, "Certificate chain, PEM; with it the service speaks https alone.")
    key: Path | None = key(None, FILE, "Its private key, PEM.")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one caller, and all together, may ask for."""

    body_bytes: int = key(4 * MEBIBYTE, count(1024, 256 * MEBIBYTE), "Largest body; one alert takes about 400 bytes.")
    connections: int = key(
        512, count(1, 100_000), "Connections at a time; a further one replaces an idle one, or is closed."
    )
    deadline_seconds: float = key(10.0, seconds(0.1, 600), "Longest time for a caller to send a whole request.")
    queue: int = key(4096, count(1, 1_000_000), "Notifications that wait to be written; a further one is answered 503.")


@dataclass(frozen=True, slots=True)
class Prometheus:
    """Where the evidence comes from."""

    url: str = key("", SECRET_URL, "Prometheus, or what speaks its API.", hidden=True)
    login: Login = field(default_factory=Login)
    instance_label: str = key("instance", TEXT, "The alert's label that names the server as Prometheus calls it.")
    node_instance_label: str = key("", TEXT, "The alert's label that names the node exporter of the server's host.")
    before_seconds: float = key(
        3600.0, seconds(60, 30 * DAY), "How far back the quiet time lies that changes are measured against."
    )


@dataclass(frozen=True, slots=True)
class Alertmanager:
    """Where alerts are asked for that never arrived, and where `EngramDiagnosis` goes."""

    urls: tuple[str, ...] = key((), URLS, "Every replica of Alertmanager; messages go to all of them.", hidden=True)
    login: Login = field(default_factory=Login)
    receiver: str = key(
        "engram-diagnose",
        TEXT,
        "The receiver there that calls this service: only its alerts are looked for; empty: all.",
    )
    missed: tuple[str, ...] = key(
        (
            'alertname=~"Engram.*",job!~"engram-diagnos.*"',
            'job=~"engram.*",job!~"engram-diagnos.*"',
            'component=~"engram.*",job!~"engram-diagnos.*"',
        ),
        MATCHERS,
        "Which alerts to look for in Prometheus that fired and ended while the service was down: any of these; empty:"
        " none.",
    )
    reconcile_seconds: float = key(60.0, seconds(1, DAY), "How often to look for alerts that never arrived.")
    refresh_seconds: float = key(60.0, seconds(1, DAY), "How often an open incident's alert is sent again.")
    resolve_after_seconds: float = key(
        300.0, seconds(10, 7 * DAY), "How long that alert holds without being sent again."
    )
    most_announced: int = key(
        100,
        count(1, 10_000),
        "Incidents that have an alert of their own there: the most severe, then the oldest, each until it closes.",
    )
    give_up_seconds: float = key(DAY, seconds(1, 30 * DAY), "When to stop trying to send a message.")


@dataclass(frozen=True, slots=True)
class Incidents:
    """Which alerts belong together, and which are left alone."""

    instance_labels: tuple[str, ...] = key(
        ("instance", "pod"), NAMES, "The first of these that an alert has names the instance."
    )
    labels: tuple[str, ...] = key((), NAMES, "Further labels that alerts of one incident share, such as `cluster`.")
    replica_labels: tuple[str, ...] = key(
        ("replica", "prometheus_replica"), NAMES, "Labels that only tell replicas of Prometheus apart."
    )
    window_seconds: float = key(
        600.0, seconds(1, 7 * DAY), "How long after it opened an incident takes in further alerts."
    )
    tolerance_seconds: float = key(60.0, seconds(0, 3600), "By how much replicas may differ in when an alert started.")
    severities: tuple[str, ...] = key(
        ("critical", "page", "error", "warning", "info"),
        NAMES,
        "Words of the label `severity`, the most severe first: the order of diagnosis. Others come last.",
    )
    ignore: tuple[str, ...] = key((), NAMES, "Names of alerts that are accepted and not diagnosed.")


@dataclass(frozen=True, slots=True)
class Worker:
    """The process that diagnoses."""

    deadline_seconds: float = key(120.0, seconds(1, DAY), "When a diagnosis that does not end is stopped.")
    memory_bytes: int = key(2048 * MEBIBYTE, count(256 * MEBIBYTE, 1 << 44), "Address space that the process may use.")
    attempts: int = key(3, count(1, 100), "How often a diagnosis is tried before it is parked.")
    backoff_seconds: float = key(
        5.0, seconds(0.01, 3600), "The first wait between two attempts; each next one is twice as long."
    )


@dataclass(frozen=True, slots=True)
class Webhook:
    """One further place that is told of each diagnosis."""

    url: str = key("", SECRET_URL, "Where to post; use `url_file` when the address holds a secret.", hidden=True)
    url_file: Path | None = key(None, FILE, "File with the address. Excludes `url`.")
    template: Path | None = key(
        None, FILE, "Jinja template of the JSON body, instead of the one that comes with the tool."
    )
    login: Login = field(default_factory=Login)
    per_minute: int = key(30, count(1, 6000), "Most messages in a minute; the others wait.")
    give_up_seconds: float = key(DAY, seconds(1, 30 * DAY), "When to stop trying to send a message.")


@dataclass(frozen=True, slots=True)
class Retention:
    """How long closed incidents are kept; open ones always are."""

    days: float = key(90.0, seconds(1 / 24, 36500), "Age at which closed incidents are deleted, in days.")
    bytes: int = key(
        2048 * MEBIBYTE, count(16 * MEBIBYTE, 1 << 44), "Size of the database above which the oldest go first."
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """All of it. Made by `service.reading.read_settings`, which has checked it; in tests, by hand."""

    listen: str = key("127.0.0.1:7433", LISTEN, "Address and port. Beyond this host only with `[auth]`.")
    public_url: str = key("", URL, "The service's address as people reach it, for links; else made from `listen`.")
    allow_unauthenticated: bool = key(
        False, FLAG, "Listen beyond this host without `[auth]`, behind a proxy that asks."
    )
    database: Path | None = key(None, FILE, "The database; else `history.db` in the state folder.", may_be_made=True)
    rules: tuple[Path, ...] = key((), FILES, "Rule packs laid over the built-in rules.", folders=True)
    targets: str = key(
        "target", TEXT, "The set of targets to hold servers to.", choices=("floor", "target", "baseline")
    )
    dialect: str = key("", TEXT, "Which release's names to expect, when they cannot be told.")
    auth: Auth = field(default_factory=Auth)
    tls: Tls = field(default_factory=Tls)
    limits: Limits = field(default_factory=Limits)
    prometheus: Prometheus = field(default_factory=Prometheus)
    alertmanager: Alertmanager = field(default_factory=Alertmanager)
    incidents: Incidents = field(default_factory=Incidents)
    worker: Worker = field(default_factory=Worker)
    webhook: Webhook = field(default_factory=Webhook)
    retention: Retention = field(default_factory=Retention)

    @property
    def host(self) -> str:
        """The address to listen at, without its port and brackets."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port to listen at; 0 lets the system choose."""
        return int(self.listen.rpartition(":")[2])

    @property
    def base_url(self) -> str:
        """What links start with, without a trailing slash."""
        scheme = "https" if self.tls.certificate else "http"
        return (self.public_url or f"{scheme}://{self.listen}").rstrip("/")

    @property
    def base_path(self) -> str:
        """The path of `base_url`: empty, or such as `/engram` behind a proxy."""
        return urlsplit(self.base_url).path
