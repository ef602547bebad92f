"""The participant's sovereignty: its policy, its approvals, its own log and its own ledger. Nobody else writes to them.

Code is never sent: a participant runs the task that is installed where its data are, and only after its policy has
admitted the terms and, unless the policy says otherwise, a person has approved them.
"""

from tacit.network.consent.approvals import Approvals, Decision, holds, statement
from tacit.network.consent.clock import Today
from tacit.network.consent.cost import Cost, costs
from tacit.network.consent.diary import Diary
from tacit.network.consent.folder import Folder
from tacit.network.consent.log import Entry, Log
from tacit.network.consent.policy import Policy
from tacit.network.consent.reading import read, read_file
from tacit.network.consent.spending import Spending

__all__ = [
    "Approvals",
    "Cost",
    "Decision",
    "Diary",
    "Entry",
    "Folder",
    "Log",
    "Policy",
    "Spending",
    "Today",
    "costs",
    "holds",
    "read",
    "read_file",
    "statement",
]
