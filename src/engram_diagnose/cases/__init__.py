"""
Labelled cases: incidents whose cause is known, and how well diagnoses of them do.
"""
