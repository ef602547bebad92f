"""The same workloads on other federated-learning frameworks, each in an environment of its own."""
