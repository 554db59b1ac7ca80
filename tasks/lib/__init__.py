"""The logic behind the tasks, free of Invoke: it can be called, and is tested, without a command line."""
