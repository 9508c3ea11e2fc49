"""Ranking: how sure a cause is, how much it would explain, and which comes first."""
