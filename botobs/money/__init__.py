"""The money room as the observer has it: verbs at the front, the account and the trackers behind, events out."""
