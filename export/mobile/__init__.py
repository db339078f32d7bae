"""Bundles that run on a phone or in a browser without a server. It trains and measures nothing."""
