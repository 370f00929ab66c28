"""What few network calls lose against many of the same network: lesions, samplers, measures, the test that judges."""
