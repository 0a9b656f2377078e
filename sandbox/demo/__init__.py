"""The demo: a town of twins around a real hub, spoken to over HTTP only."""
