"""Who takes part in a round, and what that choice means for privacy."""
