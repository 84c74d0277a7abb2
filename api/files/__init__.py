"""Runs as files: CF NetCDF, pysteps' NetCDF, cloud-optimised GeoTIFF, Zarr."""
