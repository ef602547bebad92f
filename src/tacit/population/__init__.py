"""Clients and their examples: in memory, from tables, lazily, and partitioned from pooled data."""
