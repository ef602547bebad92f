"""Stages around the sum, and the sum itself."""
