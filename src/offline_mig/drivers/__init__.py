"""Driver packages: where they lie, what their INF says, which one fits a Windows."""
