"""
Loads a server and says what came of it: open loop, three histograms, verdicts against named targets.
"""
