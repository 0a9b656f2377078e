"""A connector of a third party, as its own package: the smallest that keeps the whole contract."""
