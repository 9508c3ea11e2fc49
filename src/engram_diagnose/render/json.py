"""
The document as JSON: what other formats are rendered from, byte for byte the same for the same diagnosis.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

_UNPRINTED: Final = re.compile(
    "[\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
)


def render_json(document: Mapping[str, Any]) -> str:
    """
    UTF-8 text, two spaces deep, keys in the document's order, figures exact.

    Characters that a terminal would act on, or that UTF-8 cannot hold, are escaped. Raises `ValueError` for a
    figure that JSON does not have (NaN, infinity).
    """
    text = json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False)
    return _UNPRINTED.sub(lambda match: json.dumps(match.group())[1:-1], text) + "\n"
