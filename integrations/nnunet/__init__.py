"""nnU-Net v2 with synthetic lesions: trainers that nnU-Net finds by name, and the cache that they train from.

dataset.json, plans ──► settings, channels ──► trainer ──► live: map of where lesions may be ─► patch ─► render server
                                                     └───► cached: overlays that `prepare` has rendered
"""
