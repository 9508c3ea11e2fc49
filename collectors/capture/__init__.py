"""
Capture: reading raw things, and nothing else.

Standard library alone and Python 3.8 upward, since this folder also becomes the single file that
runs on a server where nothing may be installed. No source is required: one that is missing is an
`Answer` with a reason.
"""
