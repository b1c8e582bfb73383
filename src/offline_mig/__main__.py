"""``python -m offline_mig`` is the same as the command ``offline-mig``."""

from offline_mig.cli import main

main(prog_name="offline-mig")
