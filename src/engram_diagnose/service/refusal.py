"""
A request that goes no further, wherever in front of the application that is found out.
"""


class RefusedError(Exception):
    """Why a request goes no further: the status, a sentence, and headers that belong to it."""

    def __init__(self, status: int, reason: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = headers
