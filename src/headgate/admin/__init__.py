"""The Admin API: resources, transactions, history and status over HTTP, as an ASGI application."""
