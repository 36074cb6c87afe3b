"""Vision tasks, one package per task; a task never imports another task."""
