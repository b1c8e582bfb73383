"""The whole dance for one guest, from source to published result."""
