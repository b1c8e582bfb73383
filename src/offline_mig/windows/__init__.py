"""What is known about Windows: versions, hives, services, file formats. No engine, no plan."""
