"""Where the Grafana dashboards come from: `python -m botobs.dashboards.source` writes their JSON anew.

Needs `grafana-foundation-sdk`, a development dependency; not in the wheel, which has the JSON.
"""
