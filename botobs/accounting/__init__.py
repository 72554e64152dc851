"""Money: the ledger of fills, the position engine, and what follows from them. Knows no bus and no exporter."""
