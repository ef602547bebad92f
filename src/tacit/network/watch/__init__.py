"""What people see of a coordinator: dashboard, metrics, logs, status, and why a round went as it did.

Nothing here shows what one participant sent, or who it is; only `explanation` names participants, and it reads the
coordinator's own journal, on the coordinator's own machine.
"""
