"""Files are kept once, by content, and open only while their month's key is kept."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from core.errors import Refused, Unmatched
from core.store.attachments import keep_attachment, open_attachment
from tests.worlds import store

LABEL = b"%PDF-1.7 a label"


def test_same_file_is_kept_once_and_opens_as_it_was(tmp_path: Path) -> None:
    with store(tmp_path) as it:
        names = {it.write(lambda tx: keep_attachment(tx, 0, LABEL, "application/pdf")) for _ in range(2)}
        with it.read() as tx:
            assert [open_attachment(tx, name) for name in names] == [(LABEL, "application/pdf")]


def test_same_file_of_two_holders_is_two_attachments(tmp_path: Path) -> None:
    with store(tmp_path) as it:
        one = it.write(lambda tx: keep_attachment(tx, 0, LABEL, "application/pdf"))
        other = it.write(lambda tx: keep_attachment(tx, 7, LABEL, "application/pdf"))
    assert one != other


def test_attachment_that_is_not_there_is_named(tmp_path: Path) -> None:
    with store(tmp_path) as it, it.read() as tx, pytest.raises(Unmatched, match="no attachment f00"):
        open_attachment(tx, "f00")


def test_attachment_is_unreadable_once_its_month_is_dropped(tmp_path: Path) -> None:
    with store(tmp_path) as it:
        name = it.write(lambda tx: keep_attachment(tx, 0, LABEL, "application/pdf"))
        it.write(lambda tx: it.vault.drop(tx, tx.now + timedelta(days=40)))
        with it.read() as tx, pytest.raises(Refused, match="past retention"):
            open_attachment(tx, name)
