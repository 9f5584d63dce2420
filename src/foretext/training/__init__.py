"""The training shell: one loop, and the Steppers, schedules, optimizers and checkpoints that it drives."""
