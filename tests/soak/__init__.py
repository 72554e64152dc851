"""Long campaigns: `make soak` runs them in full, `make test` a seeded sample of each."""
