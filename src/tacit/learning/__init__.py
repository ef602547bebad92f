"""What is learned, and how one client learns it."""
