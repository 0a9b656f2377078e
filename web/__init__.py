"""HTTP doors: callbacks, REST API, console."""
