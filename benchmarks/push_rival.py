"""The rival of the callbacks bench: the same server and group-committing writer, which only inserts the row.

`python -m benchmarks.push_rival`; finds its database as the hub does, and says on stderr where it listens.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from config.settings import load
from core.model import Document
from core.store import tables as t
from core.store.store import Store, Transaction
from core.store.vault import Vault, read_keys
from web.keeper import Brought, Keeper
from web.main import serve_app, write_log_lines

ANSWER = '{"return_code":"0000","return_msg":"成功"}'.encode()


def main() -> None:
    """Serve until told to stop."""
    write_log_lines()
    settings = load()
    store = Store(settings.database_url, Vault(read_keys(settings.key_file)), role="rival")
    with store.read() as tx:
        connection_id = tx.conn.execute(t.connections.select().with_only_columns(t.connections.c.id)).scalar_one()
    key_id = store.write(lambda tx: tx.vault.key(tx, 0))
    keeper = Keeper(store, lambda tx, batch: insert(tx, key_id, batch))

    async def hear(request: Request) -> Response:
        body = await request.body()
        await keeper.keep(Brought(connection_id, 0, [Document(kind="tracking", ref="push", body=body)]))
        return Response(ANSWER, media_type="application/json")

    app = FastAPI()
    app.router.routes.append(Route("/push", hear, methods=["POST"]))
    serve_app(app, settings.web)
    store.close()


def insert(tx: Transaction, key_id: int, batch: Sequence[Brought]) -> None:
    """One row for each push, as it came."""
    same = {"kind": "tracking", "ref": "push", "key_id": key_id, "headers": {}, "state": "kept"}
    same |= {"due_at": tx.now, "received_at": tx.now}
    bodies = [(b.connection_id, b.documents[0].body) for b in batch]
    rows = [{"connection_id": c, "body": body, "digest": sha256(body).hexdigest()} for c, body in bodies]
    tx.add(t.inbox, [{"id": tx.ids.new(), **row, **same} for row in rows])


if __name__ == "__main__":
    main()
