"""
The yardstick of the service: `python plain_webhook.py PORT DATABASE` takes the same notifications with Flask on
waitress, as one would write it first: each request is read by the same code and kept in the same tables with the same
care, in a transaction of its own.
"""

import sys
import threading
import time
from pathlib import Path

import waitress
from flask import Flask, request
from flask.typing import ResponseReturnValue

from engram_diagnose.history.incidents import Grouping, IncidentStore, open_incidents
from engram_diagnose.service.intake import PayloadError, parse_notification

GROUPING = Grouping(labels=(), window=600.0)
REPLICA_LABELS = frozenset({"replica", "prometheus_replica"})


def application(database: Path) -> Flask:
    """The handler; each thread has the database open, and one writes at a time, which SQLite would see to less well."""
    app, own, turn = Flask(__name__), threading.local(), threading.Lock()

    def store() -> IncidentStore:
        if not hasattr(own, "store"):
            own.store = open_incidents(database)
        found: IncidentStore = own.store
        return found

    @app.post("/api/v1/alerts")
    def accept() -> ResponseReturnValue:
        try:
            notification = parse_notification(request.get_data(), replica_labels=REPLICA_LABELS).notification
        except PayloadError as error:
            return {"error": str(error)}, 400
        with turn:
            accepted = store().accept(notification, time.time(), GROUPING)
        return {"incidents": accepted.incidents, "new": accepted.new, "duplicates": accepted.duplicates}, 202

    return app


if __name__ == "__main__":
    waitress.serve(application(Path(sys.argv[2])), host="127.0.0.1", port=int(sys.argv[1]))
