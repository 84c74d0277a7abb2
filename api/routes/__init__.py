"""The routes, one module per family. No `try` and no SQL in here."""
