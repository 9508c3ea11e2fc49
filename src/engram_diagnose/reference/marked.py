"""
Pages that are written by hand but for one part, which is made and stands between two marks.
"""

from typing import Final

END: Final = "<!-- end of what is made -->"


def with_part(written: str, part: str, *, begin: str) -> str:
    """A page with `part` between the marks; below what is there where it has none. `part` ends with a newline."""
    before, mark, rest = written.partition(f"{begin}\n")
    _, end, after = rest.partition(f"{END}\n")
    if not mark or not end:
        before, after = f"{written.rstrip()}\n\n".lstrip(), ""
    return f"{before}{begin}\n\n{part}\n{END}\n{after}"
