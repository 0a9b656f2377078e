"""What-if: one pool sold by modelled shops, on a clock that only events move; all but the wire is the hub's own."""
