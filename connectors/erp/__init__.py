"""ERP systems: items, sales, stock books."""
