"""xpublish-edr over one run, `PEER_RUN`, in an environment of its own: NetCDF as it is, or Zarr made from it first."""

import os

import xarray as xr
import xpublish
from fastapi import FastAPI
from xpublish_edr import CfEdrPlugin


def create() -> FastAPI:
    path = os.environ["PEER_RUN"]
    run = xr.open_dataset(path, decode_coords="all", decode_timedelta=False)
    if os.environ["PEER_KIND"] == "zarr":
        store = f"{path}.zarr"
        for variable in run.variables.values():
            variable.encoding = {}
        run.to_zarr(store, mode="w", zarr_format=3, consolidated=False)
        run = xr.open_zarr(store, decode_coords="all", decode_timedelta=False, consolidated=False)
    return xpublish.Rest({"run": run}, plugins={"edr": CfEdrPlugin()}).app
