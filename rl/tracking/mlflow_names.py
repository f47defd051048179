"""Names of metrics and parameters as MLflow takes them. Two different names stay different."""

from __future__ import annotations

import functools
import hashlib
import re

LONGEST = 250  # MLflow's limit
_ESCAPED = re.compile(
    r"[^\w.\- :/]"  # what MLflow refuses; Unicode letters and digits are fine
    r"|_(?=U[0-9A-F])"  # what would read as an escape
    r"|(?:^|(?<=/))/|/$"  # an empty part of a path
    r"|(?:^|(?<=/))\.(?=\.?(?:/|$))|^\.(?=\.)"  # a part that is . or .., and a name that begins with ..
)


@functools.lru_cache(maxsize=8192)  # the same names at every step
def clean_name(name: str) -> str:
    """The name itself where MLflow takes it; other characters as their code point, ``@`` as ``_U0040_``.

    A name that is too long is cut, and ends in a digest of the whole. Example: ``acc@1`` is ``acc_U0040_1``.
    """
    clean = _ESCAPED.sub(lambda found: f"_U{ord(found[0]):04X}_", name) or "_U000000_"
    if len(clean) <= LONGEST:
        return clean
    digest = f"_U{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:16].upper()}_"
    return clean[: LONGEST - len(digest)] + digest
