"""Explanation: why a rule fired, how a value came about, why it did not, from what inference decided on."""
