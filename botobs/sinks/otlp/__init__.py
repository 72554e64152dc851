"""OTLP: spans that are already bytes, and metrics, to a collector, without ever making the bot wait.

`target` finds out where to send, `transport` carries one payload, `envelope` puts encoded spans into a
request, `sender` queues and retries spans, `metrics_push` collects and sends metrics. Import the modules, not
this package: gRPC is loaded only when that protocol is chosen.
"""
