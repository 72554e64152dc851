"""Where what happened goes: files, metrics, spans, the endpoint. Only these rooms know exporters."""
