"""An app of the project, as its developers would write it."""
