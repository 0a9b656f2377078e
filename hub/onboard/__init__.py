"""Puts merchants, warehouses, connections and goods into the store; the REST doors and the console call it."""
