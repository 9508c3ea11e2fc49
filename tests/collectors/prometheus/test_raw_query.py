"""The one query, and what asking costs a command that does not ask."""

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.collectors.prometheus.client import raw_query


@given(st.text(), st.lists(st.text(), max_size=3))
def test_no_name_breaks_out_of_the_query(instance: str, metrics: list[str]) -> None:
    query = raw_query(metrics, instance=instance, seconds=5)
    unescaped = query.replace(r"\\", "").replace(r"\"", "")
    assert unescaped.count('"') == (4 if instance else 2)
    assert "\n" not in query
    assert query.endswith("}[5s]")


def test_importing_the_client_does_not_import_httpx() -> None:
    code = ("import sys, engram_diagnose.collectors.prometheus.client as c; "
            "print(sorted({'httpx', 'ssl', 'numpy'} & set(sys.modules)))")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
