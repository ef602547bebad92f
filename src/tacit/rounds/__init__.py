"""The rounds of a run: who is asked and when, what each does, the sum of their reports, the server's step."""
