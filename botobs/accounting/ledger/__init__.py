"""The durable file of everything that moved money: appended, chained, archived, verified. Knows no meaning of it."""

from __future__ import annotations

from botobs.accounting.ledger.index import FillIndex
from botobs.accounting.ledger.ledger import Ledger
from botobs.accounting.ledger.verify import Verification
from botobs.accounting.ledger.writing import Ticket

__all__ = ["FillIndex", "Ledger", "Ticket", "Verification"]
