"""Disk images on the host: qemu-img, overlays."""
