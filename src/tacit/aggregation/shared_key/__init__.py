"""Sums of ciphertexts under a key that all silos share: homomorphic encryption, for silos that trust each other."""
