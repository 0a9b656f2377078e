"""Qimen (奇门): signed XML both ways between an ERP and its warehouses."""
