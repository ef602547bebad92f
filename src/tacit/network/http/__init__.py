"""HTTPS: the coordinator's surface, and the participant's link to it."""
