"""Settings of one installation."""
