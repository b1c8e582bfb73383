"""Coverage-guided fuzzing of the readers of foreign files."""
