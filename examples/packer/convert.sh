#!/bin/sh
# Converts the machine in the folder $GUEST; what is built again replaces what there was.
set -eu

offline-mig convert "$GUEST" --drivers "$DRIVERS" -o "$OUTPUT" --overwrite \
    --engine userspace --reproducible --provenance --quiet
