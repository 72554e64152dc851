"""Redis: the connection that everything shares which speaks to it, and the bot's way of publishing there."""

from __future__ import annotations

from botobs.sinks.redis.link import Link, LinkTrouble, Refusal

__all__ = ["Link", "LinkTrouble", "Refusal"]
