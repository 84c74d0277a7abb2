"""The read side: stateless HTTP over the store. Imports nowcast only: no CUDA and no torch."""
