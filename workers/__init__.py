"""Processes: celery app, lanes, clock, supervisor, command line."""
