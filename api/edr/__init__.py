"""OGC API – Environmental Data Retrieval 1.1: collections per region and product family, instances per run."""
