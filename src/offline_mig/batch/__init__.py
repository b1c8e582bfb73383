"""Many guests: found, looked at beforehand, planned, converted side by side, resumed."""
