"""What a conversion starts from: VMX files, VMDK, qcow2 and raw images, read without trust."""
