"""Federated methods: what goes down, how local gradients are corrected, what is summed, one server step."""
