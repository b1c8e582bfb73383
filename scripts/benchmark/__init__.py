"""Measures offline-mig beside qemu-img and virt-v2v; run by ``scripts/bench``."""
