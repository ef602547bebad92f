"""Ready-made federations on real and synthetic data."""
