"""A shop with four calls and a signed push, small enough to break one promise at a time."""
