"""`python -m workers` is `yipan`."""

from workers.cli import main

main()
