"""Pure functions: what is allowed, what follows."""
