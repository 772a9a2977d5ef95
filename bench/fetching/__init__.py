"""Files from the web and by hand: addresses, downloads, archives, manifests, the cache."""
