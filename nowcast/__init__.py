"""The domain of nowcasting: files, grids, frames, motion, models, products, chunks, tables, scores.

No CUDA, no scheduler and no HTTP server in here (`feeds` fetches, as a client); importing does nothing.
"""

__version__ = "0.1.0"
