"""One real auth service per test, with a real database and, where it matters, a real NATS."""
