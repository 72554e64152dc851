"""JSONL streams: encode, redact, append, rotate, archive, repair, read and follow."""
