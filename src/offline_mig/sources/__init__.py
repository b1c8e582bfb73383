"""Where machines come from: VMX files and bare disk images."""
