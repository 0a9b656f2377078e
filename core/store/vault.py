"""What must not lie open: secrets under the master key, documents and parties under a key per holder and month.

Dropping a month's key makes everything sealed under it unreadable for good (crypto-erase). The master key lives outside
the data folder; several can be given, the first seals, all open (rotation without downtime).
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import select

from core.errors import Misconfigured, Refused
from core.store import tables as t
from core.store.rows import insert_or_skip

if TYPE_CHECKING:
    from core.store.store import Transaction

NONCE_BYTES = 12


class Vault:
    """Seals and opens. holder: a merchant's id, or 0 for the operator."""

    def __init__(self, master_keys: Sequence[str]) -> None:
        if not master_keys:
            raise Misconfigured("no master key: name a key file in `vault.key_file`")
        self._master = MultiFernet([Fernet(key) for key in master_keys])
        self._first = master_keys[0].encode()
        self._keys: dict[int, AESGCM] = {}

    def seal_secret(self, plain: bytes) -> bytes:
        """Under the master key: credentials."""
        return self._master.encrypt(plain)

    def open_secret(self, sealed: bytes) -> bytes:
        """What seal_secret sealed. Raises Misconfigured when the master key is another one."""
        try:
            return self._master.decrypt(bytes(sealed))
        except InvalidToken:
            raise Misconfigured("the master key does not open the vault: is `vault.key_file` the right one?") from None

    def derive(self, purpose: str) -> bytes:
        """A key for one purpose (signing sessions), from the first master key; it changes when that is rotated."""
        return hmac.digest(self._first, purpose.encode(), "sha256")

    def key(self, tx: Transaction, holder: int) -> int:
        """The id of this month's key of the holder, made when it is not there."""
        if holder not in tx.sealing:
            month, k = tx.now.strftime("%Y-%m"), t.vault_keys.c
            found = tx.row(select(k.id).where(k.holder == holder, k.month == month))
            tx.sealing[holder] = int(found["id"]) if found else self._make(tx, holder, month)
        return tx.sealing[holder]

    def seal(self, tx: Transaction, key_id: int, plain: bytes) -> bytes:
        """Under one month's key."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher(tx, key_id).encrypt(nonce, plain, None)

    def open(self, tx: Transaction, key_id: int, sealed: bytes) -> bytes:
        """What seal sealed. Raises Refused when its month's key was dropped."""
        return self._cipher(tx, key_id).decrypt(bytes(sealed[:NONCE_BYTES]), bytes(sealed[NONCE_BYTES:]), None)

    def drop(self, tx: Transaction, before: datetime) -> int:
        """Forget the keys of months before this one; returns how many. What they sealed can never be read again."""
        gone = tx.rows(
            select(t.vault_keys.c.id).where(
                t.vault_keys.c.month < before.strftime("%Y-%m"), t.vault_keys.c.sealed != b""
            )
        )
        for row in gone:
            tx.set(t.vault_keys, row["id"], sealed=b"")
            self._keys.pop(row["id"], None)
        return len(gone)

    def _make(self, tx: Transaction, holder: int, month: str) -> int:
        row = {
            "id": tx.ids.new(),
            "holder": holder,
            "month": month,
            "sealed": self._master.encrypt(AESGCM.generate_key(128)),
        }
        insert_or_skip(tx.conn, t.vault_keys, [row])
        found = tx.row(select(t.vault_keys).where(t.vault_keys.c.holder == holder, t.vault_keys.c.month == month))
        assert found is not None
        return int(found["id"])

    def _cipher(self, tx: Transaction, key_id: int) -> AESGCM:
        cipher = self._keys.get(key_id)
        if cipher is None:
            sealed = tx.conn.execute(select(t.vault_keys.c.sealed).where(t.vault_keys.c.id == key_id)).scalar_one()
            if not sealed:
                raise Refused("this document was erased: its month is past retention")
            cipher = AESGCM(self._master.decrypt(bytes(sealed)))
            self._keys[key_id] = cipher
        return cipher


def read_keys(path: Path) -> list[str]:
    """The master keys in a file, one a line; the file is made, readable by its owner alone, when it is not there."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(Fernet.generate_key().decode() + "\n")
    return [line.strip() for line in path.read_text().splitlines() if line.strip()]
