"""
Timing of the loops: figures with their spread, and how far each can be trusted.
"""
