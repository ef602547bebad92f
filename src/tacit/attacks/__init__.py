"""Attacks for the eye: what an honest but curious server, or whoever has the model, finds out about a client."""
