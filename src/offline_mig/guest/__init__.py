"""The guest's disk from inside: its file systems, through an engine."""
