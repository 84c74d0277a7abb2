"""The store: tables, codec and repository over SQLite or PostgreSQL, by the same code."""
