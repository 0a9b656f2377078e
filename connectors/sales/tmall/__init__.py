"""The wire of Taobao and Tmall shops."""
