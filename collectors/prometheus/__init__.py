"""
Prometheus: one raw window is asked for, everything else is evaluated here.

`client` asks, `series` and `exposition` read what came back, `promql` and `evaluate` stand in for
the server's query engine, and `facts` turns a dialect's expressions into facts.
"""
