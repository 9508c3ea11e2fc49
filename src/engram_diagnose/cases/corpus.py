"""
A folder of labelled cases: `NAME.bundle`, and `NAME.label.json` beside it, written last.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engram_diagnose.cases.label import Label, LabelError, decode_label, encode_label
from engram_diagnose.collectors.bundle import content_digest, encode_bundle, read_bundle
from engram_diagnose.collectors.bundle_format import Bundle
from engram_diagnose.collectors.whole_file import write_whole

ENDING: Final = ".label.json"
BUNDLE_ENDING: Final = ".bundle"
_LARGEST: Final = 1 << 20
"""Bytes of a label: none comes near, and nobody should be made to read a gigabyte."""


class NoCasesError(ValueError):
    """A folder without a single labelled case; says which, and how to get some."""


@dataclass(frozen=True, slots=True)
class Case:
    """A label, and the folder in which its bundle lies."""

    label: Label
    folder: Path

    def read(self) -> Bundle:
        """Its bundle; raises `BundleError`, and `LabelError` where it is not the one that was labelled."""
        bundle = read_bundle(self.folder / self.label.bundle)
        if content_digest(bundle) != self.label.digest:
            raise LabelError(f"{self.folder / self.label.bundle} is not the bundle that {self.label.name}{ENDING} "
                             "labels: its checksum differs; make the case again")  # fmt: skip
        return bundle


def cases_in(folder: Path) -> list[Case]:
    """
    The cases of a folder by name. Raises `NoCasesError` where there is none, `LabelError` for a label that is broken.
    """
    try:
        paths = sorted(path for path in folder.iterdir() if path.name.endswith(ENDING))
    except OSError as error:
        raise NoCasesError(f"cannot read {folder}: {error.strerror}; name a folder of cases, as "
                           "`engram-diagnose cases make` fills one") from None  # fmt: skip
    if not paths:
        raise NoCasesError(f"{folder} holds no labelled case (NAME{ENDING} beside NAME{BUNDLE_ENDING}); "
                           f"make some: engram-diagnose cases make {folder}")  # fmt: skip
    return [Case(_read(path), folder) for path in paths]


def _read(path: Path) -> Label:
    try:
        with path.open("rb") as stream:
            content = stream.read(_LARGEST + 1)
    except OSError as error:
        raise LabelError(f"cannot read {path}: {error.strerror}; make it readable, or remove it") from None
    if len(content) > _LARGEST:
        raise LabelError(f"{path} is no label: it is larger than {_LARGEST:,} bytes; make the case again")
    label = decode_label(content, where=str(path))
    if f"{label.name}{ENDING}" != path.name:
        raise LabelError(f"{path} is the label of {label.name}; name its files so, or make the case again")
    return label


def is_kept(folder: Path, name: str) -> bool:
    """Whether a case of that name was made: its label, which is written last, is there."""
    return (folder / f"{name}{ENDING}").is_file()


def keep(folder: Path, label: Label, bundle: Bundle) -> Case:
    """Write a case: the bundle first, so that whatever has a label is whole. Raises `OSError`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / label.bundle, encode_bundle(bundle))
    write_whole(folder / f"{label.name}{ENDING}", encode_label(label))
    return Case(label, folder)


def corpus_digest(cases: Iterable[Case]) -> str:
    """One digest over all labels and so over the bundles' checksums in them, whatever their order."""
    digest = hashlib.sha256()
    for content in _sorted(cases):
        digest.update(content)
    return digest.hexdigest()


def _sorted(cases: Iterable[Case]) -> Iterator[bytes]:
    for case in sorted(cases, key=lambda case: case.label.name):
        yield encode_label(case.label)
