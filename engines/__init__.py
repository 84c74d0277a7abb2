"""Engines: from a PyTorch module to a running, proven engine. Imports nowcast only."""
