"""The wire of a supplier at Taobao's distribution platform."""
