"""
The inference engine: text and facts in, values out.

Nothing here reads a file, opens a socket, looks at a clock or draws a random number; time is an
argument. The shell (`engram_diagnose.cli`) and the collectors do the reading.
"""

if __name__ == "engine":
    raise ImportError(
        "import engram_diagnose.engine instead of engine: "
        "the root folder is linked into the package, and importing it twice makes two of every class"
    )
