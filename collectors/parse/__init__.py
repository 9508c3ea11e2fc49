"""
Parse: raw text into facts, and nothing else.

Nothing here opens a file, asks a clock or judges. A parser raises `UnparsedError` for text that
is not what it should be; what makes facts turns that into unknown facts with a reason.
"""
