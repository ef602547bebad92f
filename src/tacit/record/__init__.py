"""What a run leaves behind: history, checkpoints, report."""
