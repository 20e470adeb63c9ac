"""The workers: one module each, a thin loop around functions of ``sidecar``. No worker imports another."""
