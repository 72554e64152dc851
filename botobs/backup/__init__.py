"""Backups of a data directory, and what is made of them again.

```
<place>/objects/ab/<sha256>.gz     pieces of files, at most a MiB each, named by what is in them
<place>/backups/<time>.json        one for each backup: its files, of which pieces; written last
```

A piece that is there already is not sent again: so backups are incremental, and one that was interrupted goes on
where it was. A backup without its list of files, or with half of one, is none.
"""

from .errors import BackupError, NoBackupError
from .making import Made, make
from .manifest import Manifest, listed
from .restoring import Restored, check, restore
from .shelf import Shelf, open_shelf

__all__ = [
    "BackupError",
    "Made",
    "Manifest",
    "NoBackupError",
    "Restored",
    "Shelf",
    "check",
    "listed",
    "make",
    "open_shelf",
    "restore",
]
