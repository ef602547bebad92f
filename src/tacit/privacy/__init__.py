"""Differential privacy: what is promised, how it is kept, what it cost, and what it does not cover."""
