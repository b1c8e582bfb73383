"""Turns powered-off VMware Windows guests into VirtIO-only KVM guests, offline."""

__version__ = "0.1.0.dev0"
