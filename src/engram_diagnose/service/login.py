"""
Turns the service's settings into what asks another server, with the secrets read from their files.
"""

from pathlib import Path

from engram_diagnose.collectors.prometheus.options import PrometheusOptions, address_of, problem_of
from engram_diagnose.service.settings import Login


class LoginError(ValueError):
    """A secret that cannot be read or sent; names the file and never shows what it holds."""


def options_of(url: str, login: Login) -> PrometheusOptions:
    """
    How to ask the server at `url`. Reads the files of secrets, so that a changed one counts from the next call on.

    Raises `LoginError`.
    """
    token = secret_of(login.bearer_token_file) if login.bearer_token_file else ""
    user, _, password = secret_of(login.basic_auth_file).partition(":") if login.basic_auth_file else ("", "", "")
    ca_file, client_cert, client_key = (_text(path) for path in (login.ca_file, login.client_cert, login.client_key))
    options = PrometheusOptions(
        url,
        bearer_token=token,
        user=user,
        password=password,
        headers=login.headers,
        verify=not login.insecure,
        ca_file=ca_file,
        client_cert=client_cert,
        client_key=client_key,
        timeout=login.timeout_seconds,
    )
    try:
        address_of(options)
    except ValueError:
        raise LoginError("the address to ask is no URL such as http://127.0.0.1:9090; correct it") from None
    if problem := problem_of(options):
        raise LoginError(f"{problem}; correct it")
    return options


def secret_of(path: Path) -> str:
    """What a file of one secret holds, without blanks around it; raises `LoginError` where there is none."""
    try:
        secret = path.read_bytes().decode().strip()
    except OSError as error:
        raise LoginError(f"cannot read {path}: {error.strerror or error}; check its path and its mode") from None
    except UnicodeDecodeError:
        raise LoginError(f"{path} is not UTF-8 text; write the secret into it, and nothing else") from None
    if not secret:
        raise LoginError(f"{path} is empty; write the secret into it")
    return secret


def _text(path: Path | None) -> str:
    return str(path) if path else ""
