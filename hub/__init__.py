"""Joins the parts: inward (document → mapping → flow) and outward (intent → mapping → client → outcome)."""
