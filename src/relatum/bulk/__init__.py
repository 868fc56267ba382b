"""Embed catalogues of any size: shards that can be resumed, here or on a Ray cluster."""
