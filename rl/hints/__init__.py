"""Groups that are all wrong, sampled again with part of a worked answer given (IGPO, arXiv 2509.10396)."""
