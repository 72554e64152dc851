"""The hot path: ticks, stages, and which traces to keep. Knows no exporter and no file."""
