"""
Collectors: raw answers in, facts out. No thresholds and no judgement live here.

`capture` reads raw things, `parse` turns raw text into facts, `prometheus` asks and evaluates
metrics, and `bundle` is the only door to facts: a live run is a bundle that was just written.
"""

if __name__ == "collectors":
    raise ImportError(
        "import engram_diagnose.collectors instead of collectors: "
        "the root folder is linked into the package, and importing it twice makes two of every class"
    )
