"""What the hub knows by itself: orders, stock, parcels. No platform, no celery, no web."""
