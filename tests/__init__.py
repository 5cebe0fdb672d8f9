"""The tests: one file a subject; a test's name is the fact it shows. Real files, real processes."""
