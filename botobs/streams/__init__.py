"""JSONL streams: encode, redact, append, rotate, archive, repair, read and follow.

A record goes `Redactor.line` → `StreamStore.put` → `StreamStore.drain` → `JsonlFile.append`, and comes back
through `StreamReader`.
"""

from botobs.streams.archive import ArchiveFolder
from botobs.streams.disk import Disk
from botobs.streams.encode import dumps
from botobs.streams.jsonl import JsonlFile
from botobs.streams.reader import StreamReader
from botobs.streams.redact import Redactor
from botobs.streams.store import StreamStore
from botobs.streams.torn import Repair

__all__ = ["ArchiveFolder", "Disk", "JsonlFile", "Redactor", "Repair", "StreamReader", "StreamStore", "dumps"]
