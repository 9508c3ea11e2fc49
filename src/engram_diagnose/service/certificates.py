"""
How long a certificate is valid: as much of X.509 as that takes, since the standard library tells nobody.

    Certificate    ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signature }
    TBSCertificate ::= SEQUENCE { [0] version OPTIONAL, serialNumber, signature, issuer, validity, … }
    Validity       ::= SEQUENCE { notBefore Time, notAfter Time }
"""

import re
import ssl
from datetime import UTC, datetime
from typing import Final

_CERTIFICATE: Final = re.compile(r"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----")
_VERSION, _UTC_TIME, _GENERALIZED_TIME = 0xA0, 0x17, 0x18


class CertificateError(ValueError):
    """A file in which no certificate can be read; says what is wrong, not where it is."""


def valid_until(pem: bytes) -> datetime:
    """The moment when the first certificate of a chain to end does; raises `CertificateError`."""
    texts = _CERTIFICATE.findall(pem.decode("latin-1"))
    if not texts:
        raise CertificateError("it holds no certificate in PEM")
    try:
        return min(_not_after(ssl.PEM_cert_to_DER_cert(text)) for text in texts)
    except (ValueError, IndexError):
        raise CertificateError("its certificate is cut off or damaged") from None


def _not_after(der: bytes) -> datetime:
    fields = _elements(_elements(_elements(der)[0][1])[0][1])
    if fields[0][0] == _VERSION:
        fields = fields[1:]
    tag, text = _elements(fields[3][1])[1]
    form = {_UTC_TIME: "%y%m%d%H%M%SZ", _GENERALIZED_TIME: "%Y%m%d%H%M%SZ"}.get(tag, "")
    found = datetime.strptime(text.decode("ascii"), form).replace(tzinfo=UTC)
    # Two digits of a year mean 1950 to 2049 here, and 1969 to 2068 to strptime.
    return found.replace(year=found.year - 100) if tag == _UTC_TIME and found.year > 2049 else found


def _elements(der: bytes) -> list[tuple[int, bytes]]:
    """`TAG LENGTH VALUE …` as (tag, value); raises `ValueError` or `IndexError` for what is cut off."""
    found, at = [], 0
    while at < len(der):
        tag, length, at = der[at], der[at + 1], at + 2
        if length & 0x80:
            size = length & 0x7F
            length, at = int.from_bytes(der[at : at + size], "big"), at + size
        if at + length > len(der):
            raise ValueError("cut off")
        found.append((tag, der[at : at + length]))
        at += length
    return found
