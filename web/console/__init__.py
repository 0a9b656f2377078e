"""The console: server-rendered pages for people, readable on a phone, without any script."""
