"""Real servers for the tests and the benchmark."""
