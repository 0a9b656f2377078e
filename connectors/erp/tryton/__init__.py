"""Tryton over JSON-RPC: its items, sales made there in steps, its stock for comparison."""
