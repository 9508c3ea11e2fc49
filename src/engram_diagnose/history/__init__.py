"""What was changed and what came of it: the ledger, in SQLite."""

from engram_diagnose.history.ledger import Ledger, LedgerError, ledger_path, open_ledger

__all__ = ["Ledger", "LedgerError", "ledger_path", "open_ledger"]
