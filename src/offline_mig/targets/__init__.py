"""Where machines go: one pure function for each hypervisor."""
