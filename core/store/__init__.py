"""Memory: tables, inbox, outbox, ledger, links, vault, events."""
