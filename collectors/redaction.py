"""
Pseudonyms for what identifies a site: names, addresses, paths, memory spaces.

The same name gives the same pseudonym everywhere, and, with the same key, in every bundle. Texts
stay what they are otherwise, so that a redacted bundle can still be diagnosed.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_PUBLIC_NAMES = frozenset({"", "default", "localhost", "0.0.0.0", "::", "::1", "*", "engram"})  # noqa: S104  # not bound to
_PUBLIC_PATHS = (
    "/proc",
    "/sys",
    "/dev",
    "/api",
    "/health",
    "/metrics",
    "/federate",
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/etc/machine-id",
    "/-",
)

_SPACE_KEYS = "memory_space_id|memory_space|space|default_space|bootstrap_spaces"
_NAME_KEYS = (
    "instance|nodename|node|hostname|host|pod|namespace|cluster|container|service|replica|"
    "job|prometheus|exported_instance|peer|advertise_addr|node_id|cluster_name"
)
_PSEUDONYM = re.compile(r"(?:addr|host|label|name|path|space)-[0-9a-f]{8}")
_LONGEST_NAME = 100
_LONGEST_PATTERN = 200
_STRING = r'"((?:[^"\\\n]|\\.)*)"'
_ESCAPED = r'\\"((?:[^"\\\n]|\\[^"])*)\\"'
_FOUR = re.compile(r"(?<![\w.-])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![\w-]|\.[0-9])")
_SIX = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])")
_URL = re.compile(r"(?<=://)(?:\[[^\]\s]{1,60}\]|[^/\s\"'\\:@,;()\[\]{}]+)")
_PATH = re.compile(r"(?<![\w.\])}>~/%+-])/[\w.@+-][\w.@+~-]*(?:/[\w.@+~-]+)*")


def _keyed(keys: str) -> tuple[re.Pattern[str], ...]:
    """Where a value of one of the keys stands: JSON, exposition, TOML, and JSON within JSON."""
    return (
        re.compile(rf'(?<![\w.])("?(?:{keys})"?\s{{0,8}}(?:=~|!=|!~|[:=])\s{{0,8}}){_STRING}'),
        re.compile(rf'(?<![\w.])((?:\\")?(?:{keys})(?:\\")?\s{{0,8}}[:=]\s{{0,8}}){_ESCAPED}'),
        re.compile(rf"([{{,](?:{keys})=)([^\s\"'\\,}}]+)"),
        re.compile(rf"(?<![\w.])((?:{keys})\s{{0,8}}=\s{{0,8}})'([^'\n]*)'"),
    )


_SPACES = _keyed(_SPACE_KEYS)
_NAMES = _keyed(_NAME_KEYS)
_LISTS = re.compile(r'(?<![\w.])("?(?:bootstrap_spaces|seed_nodes|peers)"?\s{0,8}[:=]\s{0,8}\[)([^\]]*)(\])')


_LABELLED = _keyed(rf"[A-Za-z_][\w.]{{0,{_LONGEST_NAME}}}")
"""Any key with its value."""
_KEY = re.compile(r"[A-Za-z_][\w.]*")


class LabelPatternError(ValueError):
    """A pattern for names of labels that is none."""


def label_names(patterns: Iterable[str]) -> tuple[re.Pattern[str], ...]:
    """
    Patterns for whole names of labels, `tenant.*` for `tenant` and `tenant_id`.

    Raises `LabelPatternError` for one that cannot be read.
    """
    return tuple(map(_label_name, patterns))


def _label_name(pattern: str) -> re.Pattern[str]:
    try:
        if not pattern or len(pattern) > _LONGEST_PATTERN:
            raise re.error("empty, or longer than a name of a label")
        return re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        what = f"{pattern[:40]!r} is no pattern for names of labels ({error})"
        raise LabelPatternError(f"{what}; write 'tenant.*' for tenant and tenant_id") from None


class Pseudonyms:
    """
    Replaces what identifies a site, consistently. `key` makes it impossible to guess a name from
    its pseudonym. `labels` are patterns for names of labels whose values are replaced as well.
    """

    def __init__(self, key: str, *, hosts: Iterable[str] = (), labels: Iterable[str] = ()) -> None:
        self._key = key.encode("utf-8", "surrogatepass")
        self._labels = label_names(labels)
        names = sorted({h for h in hosts if h not in _PUBLIC_NAMES}, key=lambda h: (-len(h), h))
        pattern = "|".join(re.escape(name) for name in names)
        self._hosts = re.compile(rf"(?<![\w.-])(?:{pattern})(?![\w-])") if names else None

    def of(self, kind: str, name: str) -> str:
        """
        The pseudonym of a name: `space-3fa94c01`. Public names and pseudonyms stand for
        themselves.
        """
        if name in _PUBLIC_NAMES or _PSEUDONYM.fullmatch(name):
            return name
        message = f"{kind}\0{name}".encode("utf-8", "surrogatepass")
        return f"{kind}-{hmac.new(self._key, message, hashlib.sha256).hexdigest()[:8]}"

    def text(self, text: str) -> str:
        """The text with everything replaced."""
        if self._labels:
            for pattern in _LABELLED:
                text = pattern.sub(self._label, text)
        for pattern in _SPACES:
            text = pattern.sub(lambda found: self._value("space", found), text)
        text = _LISTS.sub(self._list, text)
        for pattern in _NAMES:
            text = pattern.sub(lambda found: self._value("name", found), text)
        if self._hosts is not None:
            text = self._hosts.sub(lambda found: self.of("host", found.group()), text)
        text = _URL.sub(lambda found: self._host(found.group()), text)
        text = _FOUR.sub(self._address, text)
        text = _SIX.sub(self._address, text)
        return _PATH.sub(self._path, text)

    def value(self, key: str, text: str) -> str:
        """The text as the value of a key: `job` and `space` say by themselves what they name."""
        if self._hides(key):
            return self.of("label", text)
        if re.fullmatch(_SPACE_KEYS, key):
            return self.of("space", text)
        return self.text(self._endpoint("name", text) if re.fullmatch(_NAME_KEYS, key) else text)

    def _hides(self, name: str) -> bool:
        return any(pattern.fullmatch(name) for pattern in self._labels)

    def _label(self, found: re.Match[str]) -> str:
        name = _KEY.search(found.group(1))
        if name is None or not found.group(2) or not self._hides(name.group()):
            return found.group()
        lead = found.group(1)
        rest = found.group()[len(lead) :]
        return lead + rest.replace(found.group(2), self.of("label", _unescaped(found.group(2))))

    def _value(self, kind: str, found: re.Match[str]) -> str:
        lead, value = found.group(1), found.group(2)
        rest = found.group()[len(lead) :]
        return lead + rest.replace(value, self._endpoint(kind, value)) if value else found.group()

    def _endpoint(self, kind: str, value: str) -> str:
        """A host with a port keeps its port; figures, and URLs, which come later, stay."""
        if value.isdigit() or "://" in value:
            return value
        host, colon, port = value.rpartition(":")
        if colon and port.isdigit() and kind == "name":
            return f"{self._host(host)}:{port}"
        return self._host(value) if kind == "name" else self.of(kind, _unescaped(value))

    def _host(self, host: str) -> str:
        if self._hosts is not None and self._hosts.fullmatch(host):
            return self.of("host", host)
        if not _is_address(host):
            return self.of("name", host)
        return host if _is_local(host.strip("[]")) else self.of("addr", host.strip("[]"))

    def _list(self, found: re.Match[str]) -> str:
        kind = "space" if "spaces" in found.group(1) else "name"
        inner = re.sub(
            r"(\"|')([^\"'\n]*)(\1)",
            lambda item: item.group(1) + self._endpoint(kind, item.group(2)) + item.group(1),
            found.group(2),
        )
        return found.group(1) + inner + found.group(3)

    def _address(self, found: re.Match[str]) -> str:
        text = found.group()
        return self.of("addr", text) if _is_address(text) and not _is_local(text) else text

    def _path(self, found: re.Match[str]) -> str:
        path = found.group()
        public = path.count("/") < 2 or any(path == known or path.startswith(known + "/") for known in _PUBLIC_PATHS)
        return path if public or _PSEUDONYM.fullmatch(path[1:]) else "/" + self.of("path", path)


def _unescaped(value: str) -> str:
    """A JSON string's content, so that one space has one pseudonym however it is written."""
    try:
        text = json.loads(f'"{value}"')
    except ValueError:
        return value
    return text if isinstance(text, str) else value


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return False
    return True


def _is_local(text: str) -> bool:
    address = ipaddress.ip_address(text)
    return address.is_loopback or address.is_unspecified
