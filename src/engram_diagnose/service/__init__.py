"""The service: Alertmanager calls, a diagnosis is made and kept, and the answer goes where people look."""
