"""Plans of changes to a guest, and the one place that applies, journals and verifies them."""
