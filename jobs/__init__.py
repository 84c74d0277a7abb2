"""What runs and when: the cycle, the worker, the command line."""
