"""Signatures the platforms publish, each checked against its vectors; shared by clients and twins."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote_plus


def top_sign(secret: str, params: Mapping[str, str], body: bytes = b"") -> str:
    """Taobao TOP and Qimen: sorted name+value of non-empty params except `sign`, then the raw body; upper-case hex.

    `sign_method` among the params chooses md5 (secret around the text), hmac (HMAC-MD5) or hmac-sha256.
    Sources: sales-platforms 1.2, erp-wms-tms 1.2.
    """
    text = "".join(k + params[k] for k in sorted(params) if k != "sign" and params[k] != "").encode() + body
    key = secret.encode()
    match params.get("sign_method", "md5"):
        case "hmac":
            return hmac.new(key, text, hashlib.md5).hexdigest().upper()
        case "hmac-sha256":
            return hmac.new(key, text, hashlib.sha256).hexdigest().upper()
        case _:
            return hashlib.md5(key + text + key, usedforsecurity=False).hexdigest().upper()


def sf_digest(msg_data: str, timestamp: str, checkword: str) -> str:
    """SF Express msgDigest: base64(md5(javaURLEncode(msgData + timestamp + checkword))). Source: couriers 1.2."""
    encoded = quote_plus(msg_data + timestamp + checkword, safe="*-._").replace("~", "%7E")
    return b64encode(hashlib.md5(encoded.encode(), usedforsecurity=False).digest()).decode()


def same(one: str, other: str) -> bool:
    """Whether two signatures are equal, in constant time; an empty one never is."""
    return bool(one) and hmac.compare_digest(one.encode(), other.encode())


VECTORS: dict[str, Callable[[dict[str, Any]], str]] = {
    "Taobao TOP": lambda v: top_sign(v["secret"], v["params"]),
    "Qimen": lambda v: top_sign(v["secret"], v["params"], v["body"].encode()),
    "SF Express": lambda v: sf_digest(v["msgData"], v["timestamp"], v["checkword"]),
}
"""System name in the signature vectors → how its inputs are signed."""
