"""Sales platforms: shops and marketplaces."""
