"""One trial: a chain of stages, in a Tune actor or in Ray Train."""
