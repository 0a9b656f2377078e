"""Real servers of third parties, each in a folder of its own under `.peers/`."""

from tests.peers.tryton_peer import tryton_peer
from tests.peers.vendure_peer import vendure_server

__all__ = ["tryton_peer", "vendure_server"]
