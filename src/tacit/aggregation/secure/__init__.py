"""Secure aggregation (SecAgg+): state machines without I/O, the same in simulation and over a network."""
