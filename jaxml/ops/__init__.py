"""Arrays to arrays, without state: what models and training stand on."""
