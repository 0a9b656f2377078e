"""The wire of Vendure shops."""
