"""Questions the API and the console ask of the store, each narrowed to a scope."""
