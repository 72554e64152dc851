"""Whether the bot is well: its health, its feeds, what it trades on."""
