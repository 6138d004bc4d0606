"""The local stack: a storage server, the emulator and an MLflow server, detached, healthy and recorded."""
