#!/bin/sh
# Converts the machine in the folder $GUEST. What is built again replaces what there was in $OUTPUT,
# the disk of a guest that was started from there as well, with all that was written to it since.
set -eu

offline-mig convert "$GUEST" --drivers "$DRIVERS" -o "$OUTPUT" --overwrite \
    --engine userspace --reproducible --provenance --quiet
