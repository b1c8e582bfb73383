"""What a folder of results holds, for people (HTML) and for programs (JSON, CSV)."""
